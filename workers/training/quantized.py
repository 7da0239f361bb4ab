"""A pre-training whose linear layers and optimizer states are quantized: model, optimizer and random stream."""

from typing import Any

from transformers import TrainerCallback

from workers.identity import derive_seed
from workers.quantization.layers import put_quantizers, untie_head
from workers.quantization.optimizer import quantized_adamw
from workers.quantization.rounding import Dice
from workers.specs.pretrain import PretrainRecipe
from workers.specs.quantized import QuantizedTraining


class RoundingCallback(TrainerCallback):  # type: ignore[misc]
    """Begins the stream of stochastic rounding anew at every step, so that a resumed training draws the same."""

    def __init__(self, dice: Dice) -> None:
        self.dice = dice

    def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Before the first micro-batch of a step."""
        self.dice.start(state.global_step)


def quantize(model: Any, recipe: PretrainRecipe) -> list[RoundingCallback]:
    """Put the recipe's quantizers on a fresh model; the callbacks that its trainer needs."""
    settings = recipe.quantization or QuantizedTraining()
    if settings.tying == "broken":
        untie_head(model)
    dice = Dice(derive_seed(recipe.seed, "rounding"))
    put_quantizers(model, settings, dice)
    return [RoundingCallback(dice)] if settings.linear else []


def optimizer_of(model: Any, recipe: PretrainRecipe) -> tuple[type, dict[str, Any]] | None:
    """Class and arguments of an optimizer with quantized moments; None where the recipe has none."""
    settings, training = recipe.quantization, recipe.training
    if settings is None or not settings.moments:
        return None
    arguments = {
        "lr": training.learning_rate,
        "betas": (training.beta1, training.beta2),
        "eps": training.epsilon,
    }
    return quantized_adamw(model, settings, Dice(derive_seed(recipe.seed, "moments")), arguments)
