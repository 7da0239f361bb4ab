"""What a benchmark is, and the registry of them.

A benchmark of one's own is a function, or any callable, named `module:object` in a grid:

    def measure(benchmark: Benchmark, candidate: Candidate) -> Measurement:
        [completion] = candidate.complete(candidate.encode(["Once upon a time"]), benchmark.new_tokens)
        return Measurement([metric("story", len(completion.tokens), unit="tokens", primary=True)])

It asks the model through `candidate.score` and `candidate.complete` alone, in an order that depends on
nothing but its data: that makes it batched, resumable and timed. The stage sets `step` on every row.
"""

from dataclasses import dataclass, field
from typing import NotRequired, Protocol, TypedDict

from results.records import MetricRow
from workers.context import BadInput, metric
from workers.evaluation.candidate import Candidate
from workers.evaluation.statistics import Estimate
from workers.kinds import load_object, unknown
from workers.specs.evaluate import Benchmark

FEW_SHOT = (
    "mnli",
    "mrpc",
    "mrpc_legacy",
    "rte",
    "qnli",
    "qnli_legacy",
    "sst2",
    "wnli",
    "wnli_legacy",
    "arc_easy",
    "arc_easy_legacy",
    "arc_challenge",
    "arc_challenge_legacy",
    "hellaswag",
    "lambada",
)
BUILT_IN = {
    "mmlu": "workers.evaluation.mmlu:measure",
    "bbh": "workers.evaluation.bbh:measure",
    "perplexity": "workers.evaluation.perplexity:measure",
    "windowed_perplexity": "workers.evaluation.windows:measure",
    "safety": "workers.evaluation.prompted:measure_safety",
    "helpfulness": "workers.evaluation.prompted:measure_helpfulness",
    "preference_accuracy": "workers.evaluation.preferences:measure",
    **dict.fromkeys(FEW_SHOT, "workers.evaluation.few_shot:measure"),
}


class Sample(TypedDict):
    """One item as it went: text, so data, and never logged. `generated` tells a generation from a choice.

    `item` counts the task's items in the order in which they were asked.
    """

    task: str
    item: int
    prompt: str
    completion: str
    reference: str | None
    score: float | None
    verdict: str | None
    generated: bool
    tokens: NotRequired[int]
    ended: NotRequired[bool]


@dataclass
class Measurement:
    """What a benchmark gives: metric rows with exactly one primary for each task, and its items."""

    metrics: list[MetricRow]
    samples: list[Sample] = field(default_factory=list)


class Measure(Protocol):
    """A benchmark's code.

    Raises:
        BadInput: its data is missing or malformed; the message is for the person.
    """

    def __call__(self, benchmark: Benchmark, candidate: Candidate, /) -> Measurement:
        """Examine the candidate under the settings of `benchmark`."""
        ...


def find_benchmark(task: str) -> Measure:
    """The built-in benchmark called `task`, or the object that `module:object` names.

    Raises:
        BadInput: there is no such built-in, or the object is not callable.
        WorkspaceError: the module or the object does not exist.
    """
    reference = task if ":" in task else BUILT_IN.get(task)
    if reference is None:
        raise BadInput(f"{unknown('benchmark', task, BUILT_IN)}; your own is named module:object")
    measure: Measure = load_object(reference)
    if not callable(measure):
        raise BadInput(
            f"{task} is a {type(measure).__name__}; a benchmark is a function (benchmark, candidate)"
        )
    return measure


def checked(task: str, measurement: Measurement) -> Measurement:
    """The measurement, if each of its tasks has exactly one primary row.

    Raises:
        BadInput: some task has none or several.
    """
    for name in {row["task"] for row in measurement.metrics}:
        primaries = sum(row["primary"] for row in measurement.metrics if row["task"] == name)
        if primaries != 1:
            raise BadInput(f"benchmark {task}: task {name!r} has {primaries} primary metrics; it needs one")
    if not measurement.metrics:
        raise BadInput(f"benchmark {task} gave no metric")
    return measurement


def estimate_row(task: str, name: str, estimate: Estimate, unit: str, primary: bool = False) -> MetricRow:
    """The metric row of an estimate."""
    return metric(
        task, estimate.value, metric=name, stderr=estimate.stderr, n=estimate.n, unit=unit, primary=primary
    )


def dropped_row(task: str, dropped: int, items: int) -> MetricRow:
    """How many of `items` items were left out because they do not fit the context."""
    return metric(task, dropped, metric="dropped", n=items, unit="items")
