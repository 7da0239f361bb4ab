"""The outlook of a submission: what stands between each of its stages and a worker, by the journals."""

import os
import time
from dataclasses import dataclass, field
from typing import Literal

from results.journal import Index
from results.layout import Workspace
from workers.failures import held_kinds, verdict
from workers.submission import Submission, SubmittedStage

State = Literal["done", "open", "unavailable", "waiting", "ready"]
REFRESH_SECONDS = 0.3
BACK_OFF = 5.0


@dataclass
class Outlook:
    """The state of every stage of a submission, as far as it was journalled at the last `refresh`.

    `taken` are the stages that whoever looks has handed out already: nobody else need be sent for them.
    """

    workspace: Workspace
    submission: Submission
    code: str
    index: Index
    taken: set[int] = field(default_factory=set)
    _refreshed: float = 0.0
    _held: dict[str, str] = field(default_factory=dict)
    _cancelled: set[str] = field(default_factory=set)
    _failed_at: dict[tuple[str, int], float] = field(default_factory=dict)

    def refresh(self, now: bool = False) -> bool:
        """Read what was journalled since, at most a few times a second unless `now`; tell whether it was read."""
        if not now and time.monotonic() - self._refreshed < REFRESH_SECONDS:
            return False
        self._refreshed = time.monotonic()
        self.index.refresh()
        standing = self.index.all_standing()
        unfinished = {stage: records for stage, records in standing.items() if stage not in self.index.done}
        self._held = held_kinds(unfinished, self.code)
        directory = self.workspace.tombstones
        self._cancelled = set(os.listdir(directory)) if directory.is_dir() else set()
        return True

    def state(self, number: int) -> State:
        """What stands between a stage and a worker."""
        stage = self.submission.stages[number]
        if stage.stage in self.index.done:
            return "done"
        if self._unavailable(stage):
            return "unavailable"
        if not all(self._usable(parent) for parent in stage.parents) or self._backs_off(stage.stage):
            return "waiting"
        return "open" if stage.stage in self.index.open else "ready"

    def may_finish(self, number: int, known: dict[int, bool]) -> bool:
        """Whether a stage is done, or nothing that is known today keeps it and its parents from it.

        `known` remembers the answers of one look.
        """
        if number not in known:
            stage = self.submission.stages[number]
            if stage.stage in self.index.done:
                known[number] = self._usable(number)
            else:
                known[number] = not self._unavailable(stage) and all(
                    self.may_finish(parent, known) for parent in stage.parents
                )
        return known[number]

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
        return verdict(self.index.standing(stage.stage), self.code) != "again"
