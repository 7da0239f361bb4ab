"""What state every stage and every experiment is in, from plans and the journals' index alone.

Nothing here reads a stage's directory or imports pandas, so it answers for 100,000 experiments at once.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from results.journal import Index
from results.records import PlanRecord

Status = Literal["done", "running", "failed", "diverged", "stopped", "blocked", "held", "pending"]

FAILURES: frozenset[str] = frozenset(
    {"timeout", "gpu_out_of_memory", "host_out_of_memory", "hung", "bug", "bad_input", "transient"}
)
"""Endings that leave a stage failed; after the others (lost, preempted, cancelled) it is pending again."""

EARLY_STOPPED = "early_stopped"
"""How an attempt ends that a search has seen enough of."""

_STOPPING = frozenset({"failed", "diverged", "blocked"})
_PRECEDENCE: tuple[Status, ...] = ("running", "failed", "diverged", "stopped", "blocked", "held", "pending")
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Facts:
    """Sets of stage ids that decide every state. A diverged stage is also in `done`; a search ended `stopped`."""

    done: AbstractSet[str] = _NONE
    diverged: AbstractSet[str] = _NONE
    open: AbstractSet[str] = _NONE
    failed: AbstractSet[str] = _NONE
    held: AbstractSet[str] = _NONE
    stopped: AbstractSet[str] = _NONE


@dataclass(frozen=True)
class Survey:
    """The state of every stage and the status of every experiment, by id."""

    stages: dict[str, Status]
    experiments: dict[str, Status]


@dataclass(frozen=True)
class Counts:
    """How many experiments (or stages) are in each status."""

    done: int = 0
    running: int = 0
    failed: int = 0
    diverged: int = 0
    stopped: int = 0
    blocked: int = 0
    held: int = 0
    pending: int = 0

    @classmethod
    def of(cls, statuses: Iterable[Status]) -> "Counts":
        """Count `statuses`."""
        return cls(**{str(status): number for status, number in Counter(statuses).items()})

    @property
    def total(self) -> int:
        """All of them."""
        return sum(vars(self).values())

    @property
    def unfinished(self) -> int:
        """Those that may still produce results: running, failed, held or pending."""
        return self.running + self.failed + self.held + self.pending


def facts_of(
    index: Index,
    failed: Callable[[str], bool] | AbstractSet[str] | None = None,
    held: AbstractSet[str] = _NONE,
) -> Facts:
    """The facts that `index` holds.

    `failed` decides which stages count as failed: a set, a predicate that is asked about every stage with
    an ending that did not commit (a retry policy), or None for "its last ending is one of FAILURES".
    """
    if failed is None:
        failed = {stage for stage in index.endings if index.ending(stage) in FAILURES}
    elif callable(failed):
        failed = {stage for stage in index.endings if failed(stage)}
    stopped = {stage for stage in index.endings if index.ending(stage) == EARLY_STOPPED}
    return Facts(index.done.keys(), index.diverged, index.open.keys(), failed, held, stopped)


def survey(plans: Sequence[PlanRecord], facts: Facts) -> Survey:
    """The state of each stage and the status of each experiment of `plans` (oldest first; later ones win).

    A stage is blocked when an ancestor failed or diverged, and stopped when a search stopped it or an ancestor.
    An experiment is done when all its own stages are, else it is what the first match says of its own stages:
    running, failed, diverged, stopped, blocked, held, pending. Linear in stages, parents and experiments.
    """
    stages: dict[str, Status] = {}
    experiments: dict[str, Status] = {}
    for plan in plans:
        states = plan_states(plan, facts)
        stages.update(zip((row.stage for row in plan.stages), states, strict=True))
        for row in plan.experiments:
            own = {states[index] for index in row.stages.values()}
            experiments[row.experiment] = _combine(own)
    return Survey(stages, experiments)


def plan_states(plan: PlanRecord, facts: Facts) -> list[Status]:
    """The state of each stage of `plan`, in the plan's order (parents come before their children)."""
    done, running, failed, held = facts.done, facts.open, facts.failed, facts.held
    states: list[Status] = []
    for row in plan.stages:
        stage = row.stage
        if stage in done:
            states.append("diverged" if stage in facts.diverged else "done")
        elif stage in running:
            states.append("running")
        elif stage in failed:
            states.append("failed")
        elif stage in facts.stopped or any(states[parent] == "stopped" for parent in row.parents):
            states.append("stopped")
        elif any(states[parent] in _STOPPING for parent in row.parents):
            states.append("blocked")
        else:
            waits = stage in held or any(states[parent] == "held" for parent in row.parents)
            states.append("held" if waits else "pending")
    return states


def members(plans: Sequence[PlanRecord]) -> Mapping[str, tuple[str, ...]]:
    """Every experiment with the ids of its own stages; the newest plan that lists it decides."""
    return {
        row.experiment: tuple(plan.stages[index].stage for index in row.stages.values())
        for plan in plans
        for row in plan.experiments
    }


def _combine(own: set[Status]) -> Status:
    if own <= {"done"}:
        return "done"
    return next(status for status in _PRECEDENCE if status in own)
