"""Seconds of the stages that move weights: so many steps, each of so many micro-batches."""

from dataclasses import dataclass
from math import ceil
from typing import Any

from orchestrator.cost.accelerators import Accelerator, Work
from orchestrator.cost.lengths import (
    ALPACA,
    WORLD_INSTRUCTION,
    WORLD_TEXT,
    Lengths,
    pair_lengths,
    template_tokens,
    unknown_row,
)
from orchestrator.cost.passes import Model, forward, gradient, optimizer
from workers.recipe import Execution
from workers.specs.data import TextData
from workers.specs.training import Training

STEP_SECONDS = {True: 0.006, False: 0.02}
"""What a step costs beside its passes, on a CPU (True) and on a GPU: data, clipping, logging, the Trainer itself."""
SORTED = 1.05
"""Padding of batches of rows that were sorted by length, as a factor."""


@dataclass(frozen=True)
class Steps:
    """What one optimizer step of a stage sees: `rows` sequences in batches padded to `lengths`' longest.

    `together` sequences belong to one row of data and share its padding (the two sides of a pair). `sorted` batches
    need little padding.
    """

    lengths: Lengths
    together: int = 1
    is_sorted: bool = False

    def padded(self, rows: float) -> float:
        """The length that batches of `rows` rows of data are padded to."""
        return self.lengths.mean * SORTED if self.is_sorted else self.lengths.longest_of(rows)


def training_seconds(
    recipe: Any,
    model: Model,
    accelerator: Accelerator,
    execution: Execution,
    gpus: float = 1.0,
    roles: tuple[str, ...] = (),
) -> float:
    """The time of a recipe's training steps.

    A DPO recipe without a parent in role `reference` computes the reference in its steps: one more forward pass
    without the adapter. Several GPUs share the batch.
    """
    training: Training = recipe.training
    steps = steps_of(recipe)
    own = max(1.0, gpus)
    rows = min(execution.micro_batch or training.batch_size, ceil(training.batch_size / own))
    batches = ceil(training.batch_size / (rows * own))
    sequences, length = rows * steps.together * own, steps.padded(rows)
    each = gradient(model, sequences, length, execution.gradient_checkpointing)
    seconds = accelerator.seconds(each)
    if hasattr(recipe, "beta") and "reference" not in roles:
        seconds += accelerator.seconds(forward(without_adapter(model), sequences, length))
    per_step = batches * seconds + accelerator.seconds(optimizer(model)) + STEP_SECONDS[accelerator.is_host]
    return training.steps * per_step + _validation(training, model, accelerator, steps, rows * own)


def steps_of(recipe: Any) -> Steps:
    """The rows that a training recipe sees."""
    data = getattr(recipe, "data", None)
    if isinstance(data, TextData):
        length = WORLD_TEXT if data.source.world is not None and not data.packed else float(data.block)
        return Steps(Lengths((min(length, float(data.block)),)))
    grouped = recipe.training.group_by_length
    preferences = getattr(recipe, "preferences", None)
    if preferences is None:
        return Steps(_instructions(recipe), is_sorted=grouped)
    longest = getattr(recipe, "max_length", preferences.max_length)
    pairs = pair_lengths(preferences, recipe.template, longest)
    if hasattr(recipe, "mask_prompt"):
        return Steps(pairs.chosen, is_sorted=grouped)
    return Steps(pairs.longer, together=2, is_sorted=grouped)


def without_adapter(model: Model) -> Model:
    """The frozen model below an adapter, stored as it is under it."""
    return Model(model.shape, model.dtype, model.quantization, None, model.flash)


def _instructions(recipe: Any) -> Lengths:
    longest = float(getattr(recipe, "max_length", 2048))
    instructions = getattr(recipe, "instructions", None)
    if instructions is None:
        return Lengths((unknown_row(longest),))
    world = instructions.source.world is not None
    rows = Lengths((WORLD_INSTRUCTION,)) if world else ALPACA
    return rows.plus(template_tokens(recipe.template, 1.0, world)).cut(longest)


def _validation(
    training: Training, model: Model, accelerator: Accelerator, steps: Steps, rows: float
) -> float:
    """Forward passes over the validation rows, after every so many steps and after the last."""
    if training.validation_steps is None:
        return 0.0
    times = ceil(training.steps / training.validation_steps)
    batches = ceil(training.validation_rows / rows)
    work: Work = forward(model, rows * steps.together, steps.padded(rows))
    return times * batches * accelerator.seconds(work)
