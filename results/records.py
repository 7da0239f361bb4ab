"""The records that workers commit and the store is made of, as plain typed dictionaries.

They are JSON on disk (`done.json`, `attempt.json`, plans), so they carry only strings, numbers, booleans,
lists and dictionaries; times are seconds since the epoch in UTC.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

Outcome = Literal["done", "diverged"]
Ending = Literal[
    "done",
    "diverged",
    "lost",
    "preempted",
    "timeout",
    "gpu_out_of_memory",
    "host_out_of_memory",
    "hung",
    "bug",
    "bad_input",
    "transient",
    "cancelled",
    "superseded",
    "early_stopped",
]


class MetricRow(TypedDict):
    """One figure that a stage produced.

    `task` and `metric` name it; the primary metric of a task appears in `results.load` under the task's
    own name, others as `task.metric`. `n` counts the items behind the figure, `step` is the optimizer step
    of the training that was measured (None when it has none).
    """

    task: str
    metric: str
    value: float | None
    stderr: float | None
    n: int | None
    step: int | None
    unit: str
    primary: bool


class AttemptRecord(TypedDict):
    """How one attempt at one stage went (`attempt.json`).

    `ended` and `ending` are None while it runs. `seconds` splits its wall time: `compute` (optimizer steps,
    forward passes, generation), `load`, `save`, `other`. `peak_memory_bytes` is the most that its processes held of
    their machine, `peak_gpu_memory_bytes` what torch's allocator took of the fullest GPU; older records lack it.
    """

    stage: str
    kind: str
    token: str
    number: int
    supervisor: str
    host: str
    process: int
    process_started: float
    boot: str
    backend: str
    job: str | None
    started: float
    ended: float | None
    ending: Ending | None
    step: int
    resumed_from: int | None
    message: str | None
    traceback: str | None
    fingerprint: dict[str, Any]
    execution: dict[str, Any]
    seconds: dict[str, float]
    peak_memory_bytes: int | None
    peak_gpu_memory_bytes: NotRequired[int | None]


class Commit(TypedDict):
    """`done.json`: names the winning attempt and carries its metric rows: commit and result are one event."""

    stage: str
    kind: str
    attempt: str
    outcome: Outcome
    finished: float
    output_digest: str
    metrics: list[MetricRow]
    record: AttemptRecord
    message: NotRequired[str]


class ExperimentRow(NamedTuple):
    """One combination of levels.

    `levels` follows the plan's `factors`; None is a factor that this experiment lacks. `stages` maps a
    pipeline's stage name (its role) to an index into the plan's stages, in pipeline order.
    """

    experiment: str
    name: str
    levels: tuple[Any, ...]
    stages: dict[str, int]


class StageRow(NamedTuple):
    """One stage of a plan, light enough to hold several hundred thousand of them.

    `parents` are indices into the plan's stages, each smaller than the stage's own index. `cost` is the
    expected core- or GPU-seconds.
    """

    stage: str
    kind: str
    parents: tuple[int, ...]
    shape: str
    affinity: str
    cost: float


@dataclass(frozen=True)
class PlanRecord:
    """`plans/<digest>.json`: everything that status, resume and the store need of one planned grid.

    `created` is when it was last submitted, in seconds since the epoch; 0 stands for "when it is written".
    Of two plans that list the same experiment, the one created later counts. `search` is a dumped
    `cluster.search.Search`, or empty.
    """

    study: str
    grid: str
    scale: str
    preset: str
    factors: tuple[str, ...]
    experiments: list[ExperimentRow]
    stages: list[StageRow]
    shapes: dict[str, dict[str, Any]] = field(default_factory=dict)
    created: float = 0.0
    version: int = 1
    search: dict[str, Any] = field(default_factory=dict)
