"""What happens around the steps of a training: progress, snapshots, checkpoints, stopping, divergence."""

import time
from pathlib import Path
from typing import Any, Protocol

from transformers import TrainerCallback

from workers.checkpoints import checkpoint_name
from workers.context import BadInput, StageContext
from workers.identity import derive_seed
from workers.training.collective import agreed
from workers.training.compiled import as_written
from workers.training.divergence import PATIENCE, LossWatch, divergence
from workers.training.seeding import seed_all
from workers.training.validation import VALIDATION_LOSS, Validation, Validator

UNTIL = "workers.training.until"
"""The key of `context.memory` under which a replayed training finds the step after which it ends."""


class Weights(Protocol):
    """Whatever can write its trained weights into a directory, and keeps what was measured on the way."""

    model: Any
    validations: list[Validation]

    def save_weights(self, directory: Path) -> None:
        """Write adapter or model."""


class StageCallback(TrainerCallback):  # type: ignore[misc]
    """Connects a trainer to its stage.

    After the training `stopped` says that it was asked to stop before its end, `diverged` why it was ended,
    and `expected` is the loss that the first step must show (None: any). `validator` measures on other rows, `watch`
    judges the losses instead of the usual rule.
    """

    def __init__(self, context: StageContext, seed: int, steps: int, factor: float) -> None:
        self.context = context
        self.dropout_seed = derive_seed(seed, f"dropout/{context.rank}" if context.rank else "dropout")
        self.steps = steps
        self.factor = factor
        self.stopped = False
        self.diverged: str | None = None
        self.expected: tuple[float, float] | None = None
        self.until: int | None = context.memory.get(UNTIL)
        self.validator: Validator | None = None
        self.watch: LossWatch | None = None
        self._snapshots = set(context.execution.snapshots)
        self._saved = time.monotonic()
        self._started = 0.0
        self._trainer: Weights | None = None

    def attach(self, trainer: Weights) -> None:
        """Name the trainer whose weights snapshots hold."""
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Start dropout's stream; a resumed training restores its place in it afterwards."""
        self._saved = time.monotonic()
        seed_all(self.dropout_seed)

    def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Start the step's clock."""
        self._started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Count compute time, report progress, and decide what the step is followed by."""
        seconds = self.context.seconds
        seconds["compute"] = seconds.get("compute", 0.0) + time.perf_counter() - self._started
        step = state.global_step
        self.context.progress(step, self.steps)
        if self.validator is not None and self.validator.due(step):
            self._validate(self.validator, step)
        if step in self._snapshots and step < self.steps:
            self._snapshot(step)
        if step == self.until:
            control.should_training_stop = True
        elif step < self.steps:
            self._save_or_stop(step, control)

    def on_log(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Judge the loss."""
        losses = _last_losses(state.log_history)
        if state.global_step == 1 and self.expected is not None:
            _check_first_loss(losses[-1], *self.expected)
        watch = self.watch
        reason = divergence(losses, self.factor) if watch is None else watch.reason(state.log_history)
        if reason is not None:
            self.diverged = reason
            control.should_training_stop = True
            control.should_save = False

    def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Start the clock of the next checkpoint."""
        self._saved = time.monotonic()

    def _save_or_stop(self, step: int, control: Any) -> None:
        stop, due = agreed(self.context.stop_requested(), self._due(step))
        if stop:
            self.stopped = True
            control.should_training_stop = True
            control.should_save = True
        elif due:
            control.should_save = True

    def _due(self, step: int) -> bool:
        every = self.context.execution.checkpoint_steps
        if every is not None:
            return step % every == 0
        return time.monotonic() - self._saved >= self.context.execution.checkpoint_seconds

    def _validate(self, validator: Validator, step: int) -> None:
        assert self._trainer is not None
        with self.context.phase("validate"), as_written(self.context.execution):
            found = validator.measure(self._trainer.model, step)
        self._trainer.validations.append(found)
        if self.watch is not None:
            self.watch.validated(step, found.loss)
        self.context.report(step, {VALIDATION_LOSS: found.loss})

    def _snapshot(self, step: int) -> None:
        assert self._trainer is not None
        with self.context.phase("save"):
            write_snapshot(self._trainer, self.context.output, step)


def snapshot_directory(output: Path, step: int) -> Path:
    """Where the weights after `step` lie below an output."""
    return output / "snapshots" / checkpoint_name(step)


def write_snapshot(trainer: Weights, output: Path, step: int) -> Path:
    """Write the weights as the snapshot of `step`; it appears whole under its name."""
    target = snapshot_directory(output, step)
    private = target.with_name(f".{target.name}")
    private.mkdir(parents=True, exist_ok=True)
    trainer.save_weights(private)
    if not target.exists():
        private.rename(target)
    return target


def _last_losses(history: list[dict[str, float]]) -> list[float]:
    """All losses when there are few; else the first, padding, and those that the rule looks at.

    The length is always the number of steps, which the rule's message names.
    """
    if len(history) <= PATIENCE:
        return [entry["loss"] for entry in history]
    first, last = history[0]["loss"], [entry["loss"] for entry in history[-PATIENCE:]]
    return [first] * (len(history) - PATIENCE) + last


def _check_first_loss(loss: float, expected: float, tolerance: float) -> None:
    if abs(loss - expected) > tolerance:
        raise BadInput(
            f"the loss before any update is {loss:.6f}, not {expected:.6f} (tolerance {tolerance:g}): the "
            "reference log-probabilities are not those of the model that is trained; check base, "
            "precision and template"
        )
