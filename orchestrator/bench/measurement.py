"""One shortened stage, run by the runner that workers have, in this process or in several: seconds and bytes."""

import gc
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.bench.machine import computes_on
from results.files import json_bytes, write_atomic
from results.layout import Workspace
from workers.context import Parent, StageContext, StageResult
from workers.endings import classify
from workers.memory import Peak, forget_peak_memory
from workers.messages import Message
from workers.recipe import Execution
from workers.stage import Stage

ATTEMPT = "bench"


@dataclass(frozen=True)
class Measured:
    """What a stage took: `seconds` of one `unit` (`step`, or the whole `stage`), `peak` bytes where it computed.

    Of several processes, seconds are those of all together, and bytes those of the fullest GPU, or of all on the CPU.
    `failure` says why there are none, `lacks` why it was run otherwise than asked, for what stands on it alone;
    `rows` what its children may read of its metrics.
    """

    unit: str | None = None
    seconds: float | None = None
    peak: float | None = None
    failure: str | None = None
    lacks: str | None = None
    rows: Sequence[Any] = ()


def now() -> float:
    """Seconds on a clock that never goes back."""
    return time.perf_counter()


def measure(
    workspace: Workspace, stage: Stage, parents: list[Parent], execution: Execution, hub_map: dict[str, str]
) -> Measured:
    """Run a stage to its end, as its strategy says. A failure is told, not raised: the others are measured too.

    It is committed as far as those need that stand on it: other processes read their parents from the workspace.
    """
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
        result, whole, peak = _computed(context)
        done = {"stage": stage.id, "attempt": ATTEMPT, "metrics": result.metrics}
        write_atomic(workspace.done_file(stage.id), json_bytes(done))
    except Exception as error:
        return Measured(failure=classify(error)[1])
    taken = float(peak.host if computes_on(execution) == "cpu" else peak.gpu or 0)
    step = step_seconds(moments) if _is_training(stage.recipe) else None
    if step is None:
        return Measured("stage", whole, taken, rows=result.metrics)
    return Measured("step", step, taken, rows=result.metrics)


def _computed(context: StageContext) -> tuple[StageResult, float, Peak]:
    """What a stage leaves, its seconds and its peak memory, as `workers.child` computes it."""
    stage, execution = context.stage, context.execution
    runner = stage.kind.load_runner()
    _forget()
    start = now()
    if execution.strategy == "single":
        result = runner(stage.recipe, context)
        return result, now() - start, Peak.of_this_process()
    from workers.ranks import Ranks

    together = Ranks(context, _assignment(context)).run()
    return together.result, now() - start, together.peak


def _assignment(context: StageContext) -> Message:
    """What each of several processes is told of the stage."""
    return {
        "stage": context.stage.id,
        "token": ATTEMPT,
        "execution": context.execution.model_dump(mode="json"),
        "resume_from": None,
        "hub_map": context.hub_map,
    }


def _is_training(recipe: Any) -> bool:
    """Whether it takes steps that a plan counts one by one."""
    return hasattr(getattr(recipe, "training", None), "steps")


def step_seconds(moments: Sequence[tuple[int, float]]) -> float | None:
    """The median time between the ends of two steps, so without the first, which warms up; None of fewer than two."""
    ends: dict[int, float] = {}
    for step, moment in moments:
        if step > 0:
            ends.setdefault(step, moment)
    times = [ends[step] - ends[step - 1] for step in ends if step - 1 in ends]
    return statistics.median(times) if times else None


def _forget() -> None:
    """Give back what an earlier stage held, and count anew."""
    gc.collect()
    forget_peak_memory()
