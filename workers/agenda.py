"""The agenda of one supervisor: which stage it takes next.

Order: its own list; then a parent that its list waits for and nobody holds; then any ready stage of its shape,
those on the same base model first. So stragglers, dead bundles, a second driver and stages shared across
grids need no coordination beyond the claims.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from results.journal import Index
from workers.outlook import Outlook
from workers.submission import Submission

SKIP_SECONDS = 2.0


@dataclass
class Agenda:
    """What is left of a submission, seen by the supervisor that runs bundle number `bundle`."""

    outlook: Outlook
    bundle: int
    _skipped: dict[int, float] = field(default_factory=dict)
    _affinity: str = ""
    _pruned: int = 0

    def __post_init__(self) -> None:
        own = self.submission.bundles[self.bundle]
        self._shape = own.shape
        others = [
            number
            for bundle in self.submission.bundles
            if bundle is not own
            for number in bundle.stages[::-1]
        ]
        groups = [list(own.stages), self._ancestors(own.stages), others]
        self._groups = [
            [n for n in group if self.submission.stages[n].shape == own.shape] for group in groups
        ]

    @property
    def submission(self) -> Submission:
        """Whose stages these are."""
        return self.outlook.submission

    @property
    def index(self) -> Index:
        """What the journals say."""
        return self.outlook.index

    def next(self) -> int | None:
        """The index of the stage to try now, or None when none is ready."""
        self.refresh()
        for wanted in ("ready", "open"):
            for candidates in (*self._groups[:2], self._by_affinity(self._groups[2])):
                for number in candidates:
                    if self.outlook.state(number) == wanted and self._free(number):
                        self._affinity = self.submission.stages[number].affinity
                        return number
        return None

    def unfinished(self) -> bool:
        """Whether a stage of this shape may still become ready, perhaps after what others run now."""
        self.refresh()
        known: dict[int, bool] = {}
        return any(
            self.outlook.state(number) != "done" and self.outlook.may_finish(number, known)
            for group in self._groups
            for number in group
        )

    def skip(self, number: int) -> None:
        """Leave a stage alone for a moment: a live attempt holds it."""
        self._skipped[number] = time.monotonic() + SKIP_SECONDS

    def refresh(self, now: bool = False) -> None:
        """Read what was journalled since, at most a few times a second unless `now`; forget what is done."""
        self.outlook.refresh(now)
        stages, done = self.submission.stages, self.index.done
        if len(done) == self._pruned:
            return
        self._pruned = len(done)
        self._groups = [
            [number for number in group if stages[number].stage not in done] for group in self._groups
        ]

    def _free(self, number: int) -> bool:
        """Whether nobody here has it in hand, and no live attempt was seen to hold it a moment ago."""
        return number not in self.outlook.taken and self._skipped.get(number, 0.0) < time.monotonic()

    def _by_affinity(self, numbers: list[int]) -> list[int]:
        stages = self.submission.stages
        return sorted(numbers, key=lambda number: stages[number].affinity != self._affinity)

    def _ancestors(self, numbers: Sequence[int]) -> list[int]:
        """The parents of `numbers`, theirs too, oldest first."""
        found: dict[int, None] = {}

        def visit(number: int) -> None:
            for parent in self.submission.stages[number].parents:
                if parent not in found:
                    visit(parent)
                    found[parent] = None

        for number in numbers:
            visit(number)
        return list(found)
