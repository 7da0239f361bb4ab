"""Weights after an earlier step, when no snapshot of it was kept: the training is run again up to there."""

import dataclasses
from pathlib import Path

from workers.checkpoints import newest_checkpoint
from workers.context import Parent, StageContext
from workers.models.sources import committed_parent
from workers.strategies import suits
from workers.training.callbacks import UNTIL, snapshot_directory

__all__ = ["replay_to_step", "snapshot_directory"]


def replay_to_step(context: StageContext, parent: Parent, step: int) -> Path:
    """Retrain `parent`'s recipe up to `step` and return the directory that holds `adapter/` or `model/`.

    The schedule is that of the whole training and every draw the same, so at an equal fingerprint the weights
    have the bits of the original after that step. A checkpoint of the parent at or before `step` is used
    when one is left. Everything is written below the current attempt.
    """
    target = context.attempt / "replay" / parent.stage.id
    found = snapshot_directory(target / "output", step)
    if found.is_dir():
        return found
    replay = dataclasses.replace(
        context,
        stage=parent.stage,
        attempt=target,
        parents=_parents_of(context, parent),
        execution=context.execution.model_copy(update={"snapshots": (step,), "checkpoint_steps": None}),
        resume_from=_checkpoint_before(context, parent, step),
        on_progress=lambda done, total: context.progress(done, None),
    )
    replay.output.mkdir(parents=True, exist_ok=True)
    replay.memory[UNTIL] = step
    try:
        parent.stage.kind.load_runner()(parent.stage.recipe, replay)
    finally:
        replay.memory.pop(UNTIL, None)
    return found


def _parents_of(context: StageContext, parent: Parent) -> list[Parent]:
    roles = [role for role, _ in parent.stage.parents]
    found = [committed_parent(context.workspace, parent.stage, role) for role in roles]
    return [each for each in found if each is not None]


def _checkpoint_before(context: StageContext, parent: Parent, step: int) -> Path | None:
    newest = newest_checkpoint(
        context.workspace, parent.stage.id, lambda found: suits(found, context.execution)
    )
    return newest if newest is not None and int(newest.name) < step else None
