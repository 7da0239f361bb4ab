"""One training from its rows to its result: resume, train, stop or diverge, and what is left behind."""

import shutil
from contextlib import nullcontext
from typing import Any

from results.records import Outcome
from results.schema import write_curves
from workers.context import StageContext, StageResult, StageStopped, metric
from workers.models.loading import device_of
from workers.recipe import Recipe
from workers.specs.training import Training
from workers.training.callbacks import StageCallback
from workers.training.compiled import compiled_layers
from workers.training.deepspeed import fit_buckets, trained_elements, zero_stage
from workers.training.trackers import tracked
from workers.training.trainers import StageTrainer
from workers.training.validation import VALIDATION_LOSS, Validation
from workers.training.walks import remembered_walks

LAST_STEPS = 10
"""The final loss is the mean of so many last steps."""
HIDDEN = ("step", "epoch")


def stage_callback(context: StageContext, recipe: Recipe, training: Training) -> StageCallback:
    """The callback that connects a trainer of this recipe to its stage."""
    return StageCallback(context, recipe.seed, training.steps, training.divergence)


def train(context: StageContext, trainer: Any, callback: StageCallback) -> StageResult:
    """Train to the end, or to divergence, and write weights, curves and metrics.

    Raises:
        StageStopped: the worker was asked to stop; a checkpoint of the last step lies in
        `context.checkpoints`.
    """
    run_steps(context, trainer, callback)
    with context.phase("save"):
        trainer.save_weights(context.output)
        rows = [*curve_rows(trainer.state.log_history), *validation_rows(trainer.validations)]
        write_curves(context.output / "curves.parquet", rows)
    outcome: Outcome = "diverged" if callback.diverged else "done"
    return StageResult(training_metrics(context, trainer), outcome=outcome, message=callback.diverged)


def run_steps(context: StageContext, trainer: Any, callback: StageCallback) -> None:
    """The steps alone, from `context.resume_from` on."""
    callback.attach(trainer)
    context.progress(0, callback.steps)
    resume = context.resume_from
    if resume is not None and context.rank == 0:
        bring_snapshots(context, int(resume.name))
    divided = zero_stage(context.execution.strategy) > 0  # DeepSpeed walks, and changes, what it wraps
    if divided:
        fit_buckets(trainer)
    walks = nullcontext() if divided else remembered_walks(trainer.model)
    compiled = compiled_layers(trainer.model, device_of(context), wanted=context.execution.compile)
    with compiled, walks, tracked(context, trainer):
        trainer.train(resume_from_checkpoint=str(resume) if resume is not None else None)
    if callback.stopped:
        raise StageStopped


def curve_rows(history: list[dict[str, float]]) -> list[dict[str, Any]]:
    """What was logged, long format: one row per step and name, in their order."""
    return [
        {"step": int(entry["step"]), "name": name, "value": float(value)}
        for entry in history
        for name, value in sorted(entry.items())
        if name not in HIDDEN
    ]


def validation_rows(validations: list[Validation]) -> list[dict[str, Any]]:
    """What was measured on the validation split, as rows of the curves."""
    return [{"step": one.step, "name": VALIDATION_LOSS, "value": one.loss} for one in validations]


def training_metrics(context: StageContext, trainer: StageTrainer) -> list[Any]:
    """Final loss (primary), trained tokens and trainable parameters."""
    task = context.stage.kind.name
    losses = [entry["loss"] for entry in trainer.state.log_history][-LAST_STEPS:]
    step = trainer.state.global_step
    return [
        metric(
            task,
            sum(losses) / len(losses),
            metric="loss",
            n=len(losses),
            step=step,
            unit="nats",
            primary=True,
        ),
        metric(task, trainer.trained_tokens, metric="trained_tokens", step=step, unit="tokens"),
        metric(task, trained_elements(trainer.model), metric="trainable_parameters", unit="parameters"),
        *(one.as_metric(task) for one in trainer.validations[-1:]),
    ]


def bring_snapshots(context: StageContext, step: int) -> None:
    """Copy the snapshots that the interrupted attempt made up to `step`; missing ones are replayed when
    needed.
    """
    assert context.resume_from is not None
    made = context.resume_from.parent.parent / "output" / "snapshots"
    for snapshot in sorted(made.glob("[0-9]*")):
        target = context.output / "snapshots" / snapshot.name
        if int(snapshot.name) <= step and not target.exists():
            private = target.with_name(f".{target.name}")
            shutil.copytree(snapshot, private, dirs_exist_ok=True)
            private.rename(target)
