"""One shortened stage, run in this process by the runner that workers have: seconds and bytes."""

import gc
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from results.files import json_bytes, write_atomic
from results.layout import Workspace
from workers.context import Parent, StageContext
from workers.endings import classify
from workers.memory import forget_peak_memory, peak_memory
from workers.recipe import Execution
from workers.stage import Stage

ATTEMPT = "bench"


@dataclass(frozen=True)
class Measured:
    """What a stage took: `seconds` of one `unit` (`step`, or the whole `stage`), `peak` bytes where it computed.

    `failure` says why there are none; `rows` what its children may read of its metrics.
    """

    unit: str | None = None
    seconds: float | None = None
    peak: float | None = None
    failure: str | None = None
    rows: Sequence[Any] = ()


def now() -> float:
    """Seconds on a clock that never goes back."""
    return time.perf_counter()


def computes_on(execution: Execution) -> str:
    """The name of the GPU that a stage would compute on here, or `cpu`."""
    import torch

    if execution.device == "cpu" or not torch.cuda.is_available():
        return "cpu"
    return str(torch.cuda.get_device_name(0))


def measure(
    workspace: Workspace, stage: Stage, parents: list[Parent], execution: Execution, hub_map: dict[str, str]
) -> Measured:
    """Run a stage to its end. A failure is told, not raised: the others are measured all the same."""
    stage.write(workspace)
    moments: list[tuple[int, float]] = []
    context = StageContext(
        workspace,
        stage,
        workspace.attempt(stage.id, ATTEMPT),
        parents,
        execution,
        on_progress=lambda step, total: moments.append((step, now())),
        hub_map=hub_map,
    )
    context.output.mkdir(parents=True, exist_ok=True)
    try:
        runner = stage.kind.load_runner()
        _forget(execution)
        start = now()
        result = runner(stage.recipe, context)
        whole, peak = now() - start, _peak(execution)
    except Exception as error:
        return Measured(failure=classify(error)[1])
    write_atomic(workspace.done_file(stage.id), json_bytes({"stage": stage.id, "attempt": ATTEMPT}))
    step = step_seconds(moments) if hasattr(stage.recipe, "training") else None
    if step is None:
        return Measured("stage", whole, peak, rows=result.metrics)
    return Measured("step", step, peak, rows=result.metrics)


def step_seconds(moments: Sequence[tuple[int, float]]) -> float | None:
    """The median time between the ends of two steps, so without the first, which warms up; None of fewer than two."""
    ends: dict[int, float] = {}
    for step, moment in moments:
        if step > 0:
            ends.setdefault(step, moment)
    times = [ends[step] - ends[step - 1] for step in ends if step - 1 in ends]
    return statistics.median(times) if times else None


def _forget(execution: Execution) -> None:
    """Begin to count anew, and give back what an earlier stage held."""
    gc.collect()
    if computes_on(execution) == "cpu":
        forget_peak_memory()
    else:
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak(execution: Execution) -> float:
    """The most bytes that the process took of the GPU, or without one of this machine."""
    if computes_on(execution) == "cpu":
        return float(peak_memory())
    import torch

    return float(torch.cuda.max_memory_reserved())
