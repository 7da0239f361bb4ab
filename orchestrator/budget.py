"""What a plan's experiments cost: training against evaluation, one experiment by itself, and groups of them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from results.files import WorkspaceError
from workers.kinds import unknown

if TYPE_CHECKING:
    from orchestrator.plan import Plan, PlannedExperiment

EVALUATION = frozenset({"evaluate", "generate", "judge", "factuality", "analyze"})
"""Kinds that measure a model; all others make one."""
PHASES = ("training", "evaluation")


def phase(kind: str) -> str:
    """Whether stages of a kind belong to `training` or to `evaluation`."""
    return PHASES[kind in EVALUATION]


@dataclass(frozen=True)
class Alone:
    """The expected seconds of one experiment with everything that it stands on, were it alone in the plan."""

    experiment: "PlannedExperiment"
    training: float
    evaluation: float


def experiments_alone(plan: "Plan") -> Iterator[Alone]:
    """Every experiment of a plan by itself; a stage that several share is counted in each."""
    for experiment in plan.experiments:
        seconds = dict.fromkeys(PHASES, 0.0)
        pending, seen = list(experiment.stages.values()), set[int]()
        while pending:
            index = pending.pop()
            if index not in seen:
                seen.add(index)
                stage = plan.stages[index]
                seconds[phase(stage.kind.name)] += stage.cost
                pending.extend(parent for _, parent in stage.parents)
        yield Alone(experiment, **seconds)


def longest_chain(plan: "Plan") -> float:
    """The seconds of the longest chain of stages that wait for each other: no number of workers is faster."""
    ends: list[float] = []
    for stage in plan.stages:
        start = max((ends[parent] for _, parent in stage.parents), default=0.0)
        ends.append(start + stage.cost)
    return max(ends, default=0.0)


def phases(plan: "Plan") -> dict[str, dict[str, float]]:
    """Stages, seconds and GPU-hours of training and of evaluation, and the seconds of one experiment by itself."""
    found: dict[str, dict[str, float]] = {
        name: {"stages": 0, "seconds": 0.0, "gpu_hours": 0.0} for name in PHASES
    }
    for stage in plan.stages:
        row = found[phase(stage.kind.name)]
        row["stages"] += 1
        row["seconds"] += stage.cost
        row["gpu_hours"] += stage.cost * stage.resources.gpus / 3600
    each = list(experiments_alone(plan))
    for name in PHASES:
        seconds = [getattr(one, name) for one in each] or [0.0]
        found[name].update(least=min(seconds), median=median(seconds), most=max(seconds))
    return found


def by_factors(plan: "Plan", factors: Sequence[str]) -> list[dict[str, Any]]:
    """The mean seconds of an experiment by itself, for each combination of levels of `factors`, in the plan's order.

    Raises:
        WorkspaceError: a factor that the plan does not have.
    """
    wrong = next((name for name in factors if name not in plan.factors), None)
    if wrong is not None:
        raise WorkspaceError(unknown("factor", wrong, plan.factors))
    places = [plan.factors.index(name) for name in factors]
    groups: dict[tuple[Any, ...], list[Alone]] = defaultdict(list)
    for one in experiments_alone(plan):
        groups[tuple(one.experiment.levels[place] for place in places)].append(one)
    return [
        {
            **dict(zip(factors, levels, strict=True)),
            "experiments": len(members),
            **{name: sum(getattr(one, name) for one in members) / len(members) for name in PHASES},
        }
        for levels, members in groups.items()
    ]
