"""What the screen shows, as plain data: counts, bars, bundles, failures, and what is held."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.view import View
from orchestrator.watch.bundles import Bundle, Bundles

UNFINISHED = ("pending", "running")


@dataclass(frozen=True)
class Bar:
    """The stages of one kind: how many there are, and how many in each state."""

    kind: str
    total: int
    states: Mapping[str, int]

    @property
    def done(self) -> int:
        """Those with a result; that one diverged is a result."""
        return self.states.get("done", 0) + self.states.get("diverged", 0)


@dataclass(frozen=True)
class Failure:
    """Stages of one kind that failed for good in one way, with the message of one of them."""

    kind: str
    ending: str
    stages: int
    example: str


@dataclass(frozen=True)
class Held:
    """A kind of stage that is held, how many stages wait for it to be lifted, and the one reason."""

    kind: str
    stages: int
    reason: str


@dataclass(frozen=True)
class Picture:
    """One look at a workspace. `running` counts all bundles at work, `bundles` describes them (or the first many)."""

    title: str
    experiments: Mapping[str, int]
    bars: Sequence[Bar]
    bundles: Sequence[Bundle] = ()
    running: int = 0
    failures: Sequence[Failure] = ()
    held: Sequence[Held] = ()
    gone: float = 0.0
    left: float | None = None

    @property
    def over(self) -> bool:
        """Whether nothing runs or waits."""
        return not any(self.experiments.get(status) for status in UNFINISHED)


@dataclass
class Looker:
    """Looks at `view` again and again for the experiments `chosen` (ids). Linear in their stages."""

    view: View
    chosen: Sequence[str]
    title: str
    clock: Callable[[], float] = time.monotonic
    _bundles: Bundles = field(init=False)

    def __post_init__(self) -> None:
        self._bundles = Bundles(self.view, self.clock)
        rows = self.view.stages_of(self.chosen)
        self._ids, self._kinds = [row.stage for row in rows], [row.kind for row in rows]
        self._costs = [row.cost for row in rows]
        self._started, self._cost_at_start = self.clock(), self._remaining_cost()

    def look(self) -> Picture:
        """What is known at the last `refresh` of the view."""
        survey = self.view.survey
        gone, bundles = self.clock() - self._started, self._bundles.look()
        return Picture(
            title=self.title,
            experiments=Counter(survey.experiments[identity] for identity in self.chosen),
            bars=self._bars(),
            bundles=bundles,
            running=self._bundles.count(),
            failures=self._failures(),
            held=self._held(),
            gone=gone,
            left=self._left(gone),
        )

    def _bars(self) -> list[Bar]:
        states = self.view.survey.stages
        counted = Counter(zip(self._kinds, (states[stage] for stage in self._ids), strict=True))
        found: dict[str, dict[str, int]] = {}
        for (kind, state), count in sorted(counted.items()):
            found.setdefault(kind, {})[state] = count
        return [Bar(kind, sum(states.values()), states) for kind, states in found.items()]

    def _failures(self) -> list[Failure]:
        classes: dict[tuple[str, str], tuple[int, str]] = {}
        for stage in sorted(self.view.failed & set(self._ids)):
            last = self.view.index.standing(stage)[-1]
            key = (last["kind"], str(last["ending"]))
            count, example = classes.get(key, (0, last["message"] or ""))
            classes[key] = (count + 1, example)
        return [Failure(*key, count, example) for key, (count, example) in sorted(classes.items())]

    def _held(self) -> list[Held]:
        states = self.view.survey.stages
        waiting = Counter(
            kind for kind, stage in zip(self._kinds, self._ids, strict=True) if states[stage] == "held"
        )
        return [Held(kind, waiting[kind], reason) for kind, reason in sorted(self.view.held.items())]

    def _left(self, gone: float) -> float | None:
        """The time left by expected cost: at the rate so far, before that is known by the number that run."""
        remaining = self._remaining_cost()
        finished = self._cost_at_start - remaining
        if remaining <= 0:
            return None
        if finished > 0 and gone >= 5:
            return gone * remaining / finished
        running = self._bundles.count()
        return remaining / running if running else None

    def _remaining_cost(self) -> float:
        states = self.view.survey.stages
        pairs = zip(self._ids, self._costs, strict=True)
        return sum(cost for stage, cost in pairs if states[stage] in UNFINISHED)
