"""A toy kind that several processes compute together: every step each adds to a sum that all of them see."""

import os
import signal
import time

from results.files import write_atomic
from workers.context import BadInput, StageContext, StageResult, StageStopped, metric
from workers.kinds import Kind
from workers.recipe import Recipe
from workers.specs.training import Training


class SumRecipe(Recipe):
    """`steps` steps of `pause` seconds; process `rank` meets `fault` at step `at`, only the first time if `once`."""

    steps: int = 4
    pause: float = 0.0
    fault: str = ""
    rank: int = 1
    at: int = 2
    once: bool = True
    training: Training = Training(batch_size=4)


def run(recipe: SumRecipe, context: StageContext) -> StageResult:
    """Sum `rank + 1` over processes and steps, with a checkpoint after every step."""
    import torch
    from torch import distributed

    from workers.training.collective import agreed, common_checkpoint

    start, total = 0, torch.zeros(1)
    if context.resume_from is not None:
        start = int(context.resume_from.name)
        total += float((context.resume_from / "sum.txt").read_text())
    for step in range(start + 1, recipe.steps + 1):
        time.sleep(recipe.pause)
        meet(recipe, context, step)
        part = torch.tensor([context.rank + 1.0])
        distributed.all_reduce(part)
        total += part
        with common_checkpoint(context, step) as directory:
            (directory / f"rank{context.rank}.txt").write_text("here")
            if context.rank == 0:
                (directory / "sum.txt").write_text(str(total.item()))
        context.progress(step, recipe.steps)
        if agreed(context.stop_requested())[0] and step < recipe.steps:
            raise StageStopped
    (context.output / "sum.txt").write_text(str(total.item()))
    return StageResult([metric("sum", total.item(), primary=True, n=recipe.steps)])


def meet(recipe: SumRecipe, context: StageContext, step: int) -> None:
    """Go wrong where the recipe says."""
    marker = context.workspace.cache / f"faulted-{context.stage.id}"
    if not recipe.fault or (context.rank, step) != (recipe.rank, recipe.at):
        return
    if recipe.once and marker.exists():
        return
    write_atomic(marker, b"")
    match recipe.fault:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "bug":
            raise ValueError("a bug in line 42")
        case "bad input":
            raise BadInput("no such file: data.jsonl")
        case "gpu memory":
            raise type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory")
        case "exit":
            os._exit(0)


SUM = Kind(
    "sum", 1, SumRecipe, "tests.support.sums:run", reference="tests.support.sums:SUM", distributed=True
)
