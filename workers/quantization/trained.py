"""The quantizers that a model was trained with, on it again while it is evaluated."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from workers.context import BadInput, StageContext
from workers.identity import derive_seed
from workers.quantization.layers import put_quantizers, take_off_quantizers
from workers.quantization.rounding import Dice
from workers.specs.evaluate import EvaluateRecipe
from workers.specs.pretrain import PretrainRecipe
from workers.specs.quantized import QuantizedTraining


@contextmanager
def quantizers_of(recipe: EvaluateRecipe, context: StageContext, model: Any) -> Iterator[None]:
    """Within the body the model has the quantizers of its training, if the recipe wants them and there are any.

    Raises:
        BadInput: the model is not that of a pre-training, or a scale would depend on the micro-batch.
    """
    if recipe.quantizers == "off":
        yield
        return
    parent = context.parent("trained")
    training = parent.stage.recipe if parent is not None else None
    if not isinstance(training, PretrainRecipe):
        raise BadInput("`quantizers: as-trained` needs a parent in role `trained` of kind `pretrain`")
    settings = training.quantization or QuantizedTraining()
    _check_batches(settings, recipe, context)
    put_quantizers(model, settings, Dice(derive_seed(training.seed, "rounding")))
    try:
        yield
    finally:
        take_off_quantizers(model)


def _check_batches(settings: QuantizedTraining, recipe: EvaluateRecipe, context: StageContext) -> None:
    """A scale over several tokens is that of the batch, which only the recipe may decide."""
    activations, parts = settings.activations, context.execution.micro_batch
    shared = activations is not None and activations.axis in ("tensor", "column")
    if shared and parts is not None and parts < recipe.batch_size:
        raise BadInput(
            f"activations that share a scale across tokens depend on the batch: a micro-batch of {parts} would change "
            f"the figures of `batch_size: {recipe.batch_size}`; lower that instead"
        )
