"""Toy kinds of stage: real stages for the whole protocol, without torch."""

import os
import signal
import time

from results.files import write_atomic
from workers.checkpoints import new_checkpoint
from workers.context import BadInput, StageContext, StageResult, metric
from workers.kinds import Kind
from workers.recipe import Recipe, Settings


class Weight(Settings):
    """Makes a stage look as long as so many optimizer steps, so that the planner gives it a bundle."""

    steps: int
    batch_size: int = 0


class ToyRecipe(Recipe):
    """Count to `steps`, sleeping `pause` seconds each; `fault` says how to go wrong, `once` only the first time."""

    steps: int = 1
    pause: float = 0.0
    value: float = 1.0
    fault: str = ""
    at: int = 0
    once: bool = False
    training: Weight | None = None


def run(recipe: ToyRecipe, context: StageContext) -> StageResult:
    """Add `value` to the sum of the parents' results."""
    marker = context.workspace.cache / f"faulted-{context.stage.id}"
    for step in range(1, recipe.steps + 1):
        time.sleep(recipe.pause)
        context.progress(step, recipe.steps)
        context.raise_if_stopped()
        if recipe.fault and step >= recipe.at and not (recipe.once and marker.exists()):
            write_atomic(marker, b"")
            _go_wrong(recipe.fault)
    total = recipe.value + _of_parents(context)
    (context.output / "value.txt").write_text(str(total))
    outcome = "diverged" if recipe.fault == "diverge" else "done"
    return StageResult([metric("toy", total, primary=True, n=recipe.steps)], outcome)


def count(recipe: ToyRecipe, context: StageContext) -> StageResult:
    """Like `run`, with a checkpoint after every step; a resumed count goes on from there.

    Each step takes as long as YATES_TOY_PAUSE says, so that a run in haste makes the same stages. It reports a loss
    that falls with the steps, the lower the smaller `value`.
    """
    began = time.time()
    start = 0 if context.resume_from is None else int(context.resume_from.name)
    for step in range(start + 1, recipe.steps + 1):
        context.raise_if_stopped()
        time.sleep(float(os.environ.get("YATES_TOY_PAUSE", "0")))
        with new_checkpoint(context.checkpoints, step) as directory:
            (directory / "step.txt").write_text(str(step))
        context.progress(step, recipe.steps)
        context.report(step, {"loss": recipe.value / step})
    context.raise_if_stopped()
    total = recipe.value + _of_parents(context)
    (context.output / "devices.txt").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    (context.output / "node.txt").write_text(os.environ.get("SLURMD_NODENAME", ""))
    (context.output / "times.txt").write_text(f"{began} {time.time()}")
    final = metric("toy", recipe.value / recipe.steps, metric="loss", step=recipe.steps)
    return StageResult([metric("toy", total, primary=True, n=recipe.steps), final], "done")


def _of_parents(context: StageContext) -> float:
    rows = (row for parent in context.parents for row in parent.metrics)
    return sum(row["value"] or 0 for row in rows if row["metric"] != "loss")


def _go_wrong(fault: str) -> None:
    match fault:
        case "bug":
            raise ValueError("a bug in line 42")
        case "bad input":
            raise BadInput("no such file: data.jsonl")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "crash":
            os.abort()
        case "gpu memory":
            raise type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory")
        case "disk":
            raise OSError(28, "No space left on device")
        case "hang":
            time.sleep(3600)


TOY = Kind(
    "toy", 1, ToyRecipe, "tests.support.toys:run", roles=("parent",), reference="tests.support.toys:TOY"
)
COUNT = Kind(
    "count", 1, ToyRecipe, "tests.support.toys:count", roles=("parent",), reference="tests.support.toys:COUNT"
)
