"""What a running stage sees of the world around it: its parents, its directories, its signals."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results.layout import Workspace
from results.records import MetricRow, Outcome
from workers.recipe import Execution
from workers.stage import Stage


class StageStopped(Exception):
    """Raised by a stage that was asked to stop, after it saved what it could."""


class BadInput(Exception):
    """Input that no retry will mend: missing model, malformed data. The message is for the person."""


class TransientFailure(Exception):
    """A failure that a later retry may not meet: network, filesystem, rate limit."""


@dataclass(frozen=True)
class Parent:
    """A committed parent: its stage and the directory of what it left."""

    role: str
    stage: Stage
    output: Path
    metrics: list[MetricRow]


@dataclass
class StageResult:
    """What a runner returns. Files lie in `context.output` already."""

    metrics: list[MetricRow] = field(default_factory=list)
    outcome: Outcome = "done"
    message: str | None = None


@dataclass
class StageContext:
    """The surroundings of one attempt at one stage.

    `output` is where the stage leaves its result (`adapter/` or `model/` as safetensors, `curves.parquet`,
    `samples.parquet`, …); `checkpoints` is where recovery checkpoints go, each a directory made by
    `workers.checkpoints`. `resume_from` is the newest complete and verified checkpoint of any attempt, or
    None. Everything written lies below the attempt's own directory. `rank` is the number of this process among
    the `execution.processes` that compute the stage together; only what rank 0 writes is kept.
    """

    workspace: Workspace
    stage: Stage
    attempt: Path
    parents: list[Parent]
    execution: Execution
    resume_from: Path | None = None
    stop_requested: Callable[[], bool] = lambda: False
    on_progress: Callable[[int, int | None], None] = lambda step, total: None
    on_report: Callable[[int, dict[str, float]], None] = lambda step, values: None
    seconds: dict[str, float] = field(default_factory=dict)
    hub_map: dict[str, str] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)
    rank: int = 0

    @property
    def output(self) -> Path:
        """The directory of what the stage leaves to its children and to the store."""
        return self.attempt / "output"

    @property
    def checkpoints(self) -> Path:
        """The directory of this attempt's recovery checkpoints."""
        return self.attempt / "checkpoints"

    def parent(self, role: str) -> Parent | None:
        """The first parent in `role`, or None."""
        return next((parent for parent in self.parents if parent.role == role), None)

    def progress(self, step: int, total: int | None = None) -> None:
        """Report that the stage has advanced to `step`; the supervisor kills a stage that stops advancing."""
        self.on_progress(step, total)

    def report(self, step: int, values: dict[str, float]) -> None:
        """Report figures of `step` to whoever may want to end the stage early; it may answer by a stop."""
        self.on_report(step, values)

    def raise_if_stopped(self) -> None:
        """Raise `StageStopped` when the worker was asked to stop."""
        if self.stop_requested():
            raise StageStopped

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time inside towards `name`: `compute`, `load` or `save`. Phases do not nest."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def metric(
    task: str,
    value: float | None,
    *,
    metric: str = "value",
    stderr: float | None = None,
    n: int | None = None,
    step: int | None = None,
    unit: str = "",
    primary: bool = False,
) -> MetricRow:
    """A metric row; non-finite values become None, as JSON and Parquet readers expect."""
    return MetricRow(
        task=task,
        metric=metric,
        value=_finite(value),
        stderr=_finite(stderr),
        n=n,
        step=step,
        unit=unit,
        primary=primary,
    )


def _finite(value: float | None) -> float | None:
    if value is None:
        return None
    number = float(value)
    return number if number - number == 0 else None
