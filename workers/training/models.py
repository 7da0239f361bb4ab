"""The model that a training changes: a kept base under a new adapter, or a copy of its own to train whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from workers.context import StageContext
from workers.models.loading import borrowed_base, device_of, load_model
from workers.models.sources import ModelSource
from workers.specs.model import LoraRecipe, ModelRecipe


@contextmanager
def model_to_train(
    context: StageContext, source: ModelSource, recipe: ModelRecipe, adapter: LoraRecipe | None
) -> Iterator[Any]:
    """The base to put an adapter on, or without `adapter` a private copy with every weight trainable.

    Dropout of the base is off: recipes state the adapter's, and DPO's reference must be the model that is
    trained.
    """
    if adapter is None:
        with context.phase("load"):
            model = load_model(source, recipe, None, device_of(context)).requires_grad_(True)
        yield model
    else:
        with borrowed_base(context, source, recipe, adapter.quantization) as model:
            without_dropout(model)
            yield model


def without_dropout(model: nn.Module) -> None:
    """Set every dropout layer of a model to zero."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
