"""Experiment trackers (transformers' `report_to`) in a worker that runs many stages: one run of the tracker a stage.

A tracker is a copy for the eye. The store's own curves and metrics do not depend on it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from workers.context import StageContext


def run_name(context: StageContext) -> str:
    """What a tracker calls the stage's run: kind and id."""
    return f"{context.stage.kind.name}-{context.stage.id[:12]}"


@contextmanager
def tracked(context: StageContext, trainer: Any) -> Iterator[None]:
    """Within it the trainer reports to the trackers of the stage's execution, to a run of its own.

    TensorBoard's files lie in `logs/tensorboard/<run>` of the workspace. W&B's run is finished afterwards, which its
    callback leaves to the end of the process.
    """
    for callback in trainer.callback_handler.callbacks:
        if type(callback).__name__ == "TensorBoardCallback":
            callback.logging_dir = str(context.workspace.logs / "tensorboard" / run_name(context))
    try:
        yield
    finally:
        wandb = sys.modules.get("wandb")
        if wandb is not None and "wandb" in context.execution.report_to:
            with suppress(Exception):  # a tracker that fails costs no stage
                wandb.finish()
