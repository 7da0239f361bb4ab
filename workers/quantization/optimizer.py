"""AdamW whose moments are quantized between steps (quantization study, section 4.5)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from workers.quantization.layers import linear_layers, transposed
from workers.quantization.moments import moment_quantizer
from workers.quantization.rounding import Dice
from workers.specs.quantized import MomentQuantizer, QuantizedTraining

FIRST, SECOND = "exp_avg", "exp_avg_sq"


class QuantizedAdamW(torch.optim.AdamW):
    """`m' = Q1(m_{t-1})`, `v' = Q2(v_{t-1})`, then torch's AdamW from m' and v'.

    Only the weights in `quantized` have rounded moments; each is given with whether it is stored as (in, out), so
    that rows are output channels. The update of step t itself uses `m_t` and `v_t` before they are rounded, and
    they are kept in float32: equal to storing codes, without the saving. A state that does not exist yet is 0 and
    is not rounded, so a code without 0 acts from the second step on. `dice` draws for stochastic rounding and
    serves nobody else; every step starts its stream anew.
    """

    def __init__(
        self,
        params: Any,
        *,
        moments: tuple[MomentQuantizer | None, MomentQuantizer | None],
        quantized: list[tuple[nn.Parameter, bool]],
        dice: Dice,
        **settings: Any,
    ) -> None:
        super().__init__(params, **settings)
        recipes = {name: recipe for name, recipe in zip((FIRST, SECOND), moments, strict=True) if recipe}
        self._quantizers = {name: moment_quantizer(recipe, dice) for name, recipe in recipes.items()}
        self._quantized = quantized
        self._dice = dice

        self.register_step_pre_hook(_quantize_first)

    @torch.no_grad()
    def quantize_moments(self) -> None:
        """Replace the moments of the last step by their quantized values."""
        known = [(self.state[weight], turned) for weight, turned in self._quantized if weight in self.state]
        if known:
            self._dice.start(int(known[0][0]["step"]))
        for state, turned in known:
            for name, quantize in self._quantizers.items():
                moment = state[name].t() if turned else state[name]
                moment.copy_(quantize(moment))


def quantized_weights(model: nn.Module, recipe: QuantizedTraining) -> Iterator[tuple[nn.Parameter, bool]]:
    """The weights whose moments are rounded, and whether each is stored as (in, out).

    They are those of the linear layers; a head that is tied to the embedding never is among them.
    """
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for module in linear_layers(model, head=recipe.head).values():
        weight = module.weight
        assert isinstance(weight, nn.Parameter)
        if id(weight) not in embeddings:
            yield weight, transposed(module)


def quantized_adamw(
    model: nn.Module, recipe: QuantizedTraining, dice: Dice, settings: dict[str, Any]
) -> tuple[type[QuantizedAdamW], dict[str, Any]]:
    """Class and keyword arguments as transformers' Trainer takes them; it makes the groups of parameters."""
    moments = (recipe.first_moment, recipe.second_moment)
    own = {"moments": moments, "quantized": list(quantized_weights(model, recipe)), "dice": dice}
    return QuantizedAdamW, {**settings, **own}


def _quantize_first(optimizer: QuantizedAdamW, *others: Any) -> None:
    optimizer.quantize_moments()
