"""The agenda of one supervisor: which stage it takes next.

Order: its own list; then a parent that its list waits for and nobody holds; then any ready stage of its shape,
those on the same base model first. So stragglers, dead bundles, a second driver and stages shared across
grids need no coordination beyond the claims.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from results.journal import Index
from results.layout import Workspace
from workers.failures import held_kinds, verdict
from workers.submission import Submission, SubmittedStage

State = Literal["done", "open", "unavailable", "waiting", "ready"]
REFRESH_SECONDS = 0.3
SKIP_SECONDS = 2.0
BACK_OFF = 5.0


@dataclass
class Agenda:
    """What is left of a submission, seen by the supervisor that runs bundle number `bundle`."""

    workspace: Workspace
    submission: Submission
    bundle: int
    code: str
    index: Index
    _refreshed: float = 0.0
    _held: dict[str, str] = field(default_factory=dict)
    _cancelled: set[str] = field(default_factory=set)
    _failed_at: dict[tuple[str, int], float] = field(default_factory=dict)
    _skipped: dict[int, float] = field(default_factory=dict)
    _affinity: str = ""

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

    def next(self) -> int | None:
        """The index of the stage to try now, or None when none is ready."""
        self.refresh()
        for wanted in ("ready", "open"):
            for candidates in (*self._groups[:2], self._by_affinity(self._groups[2])):
                for number in candidates:
                    if self.state(number) == wanted and self._skipped.get(number, 0.0) < time.monotonic():
                        self._affinity = self.submission.stages[number].affinity
                        return number
        return None

    def unfinished(self) -> bool:
        """Whether a stage of this shape may still become ready, perhaps after what others run now."""
        self.refresh()
        known: dict[int, bool] = {}
        return any(
            self.state(number) != "done" and self._may_finish(number, known)
            for group in self._groups
            for number in group
        )

    def skip(self, number: int) -> None:
        """Leave a stage alone for a moment: a live attempt holds it."""
        self._skipped[number] = time.monotonic() + SKIP_SECONDS

    def state(self, number: int) -> State:
        """What stands between a stage and this supervisor."""
        stage = self.submission.stages[number]
        if stage.stage in self.index.done:
            return "done"
        if self._unavailable(stage):
            return "unavailable"
        if not all(self._usable(parent) for parent in stage.parents) or self._backs_off(stage.stage):
            return "waiting"
        return "open" if stage.stage in self.index.open else "ready"

    def refresh(self, now: bool = False) -> None:
        """Read what was journalled since, at most a few times a second unless `now`."""
        if not now and time.monotonic() - self._refreshed < REFRESH_SECONDS:
            return
        self._refreshed = time.monotonic()
        self.index.refresh()
        standing = self.index.all_standing()
        unfinished = {stage: records for stage, records in standing.items() if stage not in self.index.done}
        self._held = held_kinds(unfinished, self.code)
        directory = self.workspace.tombstones
        self._cancelled = set(os.listdir(directory)) if directory.is_dir() else set()
        stages, done = self.submission.stages, self.index.done
        self._groups = [
            [number for number in group if stages[number].stage not in done] for group in self._groups
        ]

    def _backs_off(self, identity: str) -> bool:
        """Whether the stage failed for a moment's reason (network, filesystem) and is left alone for a while.

        The pause grows with each failure: 1, 5, 25 seconds of this supervisor's own clock.
        """
        if identity not in self.index.endings:
            return False
        records = self.index.standing(identity)
        if not records or records[-1]["ending"] != "transient":
            return False
        failures = sum(record["ending"] == "transient" for record in records)
        seen = self._failed_at.setdefault((identity, failures), time.monotonic())
        return time.monotonic() - seen < BACK_OFF ** (failures - 1)

    def _usable(self, number: int) -> bool:
        identity = self.submission.stages[number].stage
        return identity in self.index.done and identity not in self.index.diverged

    def _unavailable(self, stage: SubmittedStage) -> bool:
        """Failed for good, held, or cancelled."""
        if stage.kind in self._held or stage.stage in self._cancelled:
            return True
        if stage.stage not in self.index.endings:
            return False
        return verdict(self.index.standing(stage.stage), self.code) == "failed"

    def _may_finish(self, number: int, known: dict[int, bool]) -> bool:
        """Whether a stage is done, or nothing that is known today keeps it and its parents from it."""
        if number not in known:
            stage = self.submission.stages[number]
            if stage.stage in self.index.done:
                known[number] = self._usable(number)
            else:
                known[number] = not self._unavailable(stage) and all(
                    self._may_finish(parent, known) for parent in stage.parents
                )
        return known[number]

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
