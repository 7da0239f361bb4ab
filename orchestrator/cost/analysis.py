"""Seconds of `analyze`: so many passes of a trained model over each of its mini-batches."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.cost.accelerators import Accelerator
from orchestrator.cost.passes import Model, forward, gradient, optimizer
from orchestrator.cost.training import steps_of

if TYPE_CHECKING:
    from workers.specs.analyze import AnalyzeRecipe


@dataclass(frozen=True)
class Passes:
    """Forward passes, and forward with backward ones, over each mini-batch; optimizer steps once."""

    forward: int = 0
    gradient: int = 0
    steps: int = 0


PASSES = {
    "sharpness": Passes(forward=2, gradient=2),  # with the quantizers on and off
    "outliers": Passes(forward=1),
    "gradient_histogram": Passes(forward=2, gradient=1),  # four roundings of every gradient
    "output_error": Passes(forward=3),
    "gradient_fidelity": Passes(gradient=2),
    "measured_memory": Passes(steps=1),
}
BLOCK = 64.0
"""The sequences of a training that is not known."""


def analysis_seconds(recipe: "AnalyzeRecipe", trained: Any, model: Model, accelerator: Accelerator) -> float:
    """The time of every analysis of the recipe on the mini-batches of the training `trained`."""
    length = steps_of(trained).lengths.mean if hasattr(trained, "training") else BLOCK
    once = accelerator.seconds(forward(model, recipe.batch_size, length))
    both = accelerator.seconds(gradient(model, recipe.batch_size, length, False))
    step = both + accelerator.seconds(optimizer(model))
    total = 0.0
    for name in recipe.analyses:
        passes = PASSES.get(name, Passes(steps=2 * (recipe.repeats + 1)))
        total += recipe.batches * (passes.forward * once + passes.gradient * both) + passes.steps * step
    return total
