"""The watch over one running attempt: its heartbeat, its tombstone, requests to stop, steps that stand still."""

import time
from typing import Literal

from results.layout import Workspace
from results.records import Ending
from workers.attempts import HEARTBEAT_SECONDS, Attempt
from workers.nursery import ChildProcess

GRACE_SECONDS = 60.0
StopReason = Literal["preempted", "timeout"]


class Watch:
    """Looks after one running attempt: heartbeat, tombstone, stop requests, and steps that stand still."""

    def __init__(self, workspace: Workspace, attempt: Attempt, hang_seconds: float) -> None:
        self._tombstone = workspace.tombstone(attempt.record["stage"])
        self._attempt = attempt
        self._hang_seconds = hang_seconds
        self._moved = time.monotonic()
        self._beaten = self._looked = time.monotonic()
        self._asked: float | None = None
        self.stopping: Ending | None = None

    def advance(self, step: int | None) -> None:
        """Note that the stage reached `step`, if it counts any."""
        if step is None:
            return
        if step != self._attempt.record["step"]:
            self._moved = time.monotonic()
        self._attempt.record["step"] = step

    def end_early(self, child: ChildProcess) -> None:
        """Have the stage save itself and stop: a search has seen enough of it."""
        if self.stopping is None:
            self._ask(child, "early_stopped")

    def look(self, stop: StopReason | None, child: ChildProcess) -> None:
        """Do what is due now."""
        now = time.monotonic()
        if now - self._beaten >= HEARTBEAT_SECONDS:
            self._attempt.beat()
            self._beaten = now
        if now - self._looked >= 1.0:
            self._looked = now
            if self.stopping is None and self._tombstone.exists():
                self._ask(child, "cancelled")
        if stop is not None and self.stopping is None:
            self._ask(child, stop)
        if now - self._moved > self._hang_seconds:
            self.stopping = "hung"
            child.kill()
        elif self._asked is not None and now - self._asked > GRACE_SECONDS:
            child.kill()

    def _ask(self, child: ChildProcess, ending: Ending) -> None:
        self.stopping = ending
        self._asked = time.monotonic()
        child.ask_to_stop()
