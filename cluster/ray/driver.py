"""The driver of a submission: a Ray job that hands stages to warm actors as their parents commit.

    python -m cluster.ray.driver WORKSPACE SUBMISSION

It holds nothing that is not in the workspace: a new driver takes up where a dead one fell. When nothing is left
that it could do, the tail looks at what there is (`orchestrator.tail`): retries by class, the store, the rest.
"""

import argparse
import logging
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any, cast

import ray

from cluster.losses import end_attempts
from cluster.ray.crew import Crew, Death
from cluster.ray.records import DriverRecord, read_driver
from cluster.ray.shapes import Node, Request, request_of
from cluster.search import Search
from results.files import WorkspaceError
from results.journal import Index
from results.layout import Workspace
from workers.agenda import Agenda
from workers.outlook import Outlook
from workers.processes import ProcessIdentity
from workers.submission import Submission

WAIT_SECONDS = 0.2
REPORT_SECONDS = 2.0
STARVED_SECONDS = 5.0
"""How long an actor waits to be placed before those who hold the resources make room."""
TENURE_SECONDS = 60.0
"""How long an actor with work may keep its resources while others starve: a start must be worth its cost."""
LINGER_SECONDS = 3600.0
SAVE_SECONDS = 60.0
FAILED_STARTS = 3
TAIL = "orchestrator.tail"


class Stopped(BaseException):
    """Raised in the midst of a search when the driver is asked to stop."""


class Driver:
    """Drives one submission to its end on the Ray cluster that this process has joined."""

    def __init__(self, workspace: Workspace, submission: Submission) -> None:
        self.workspace, self.submission = workspace, submission
        self.outlook = Outlook(workspace, submission, submission.code, Index(workspace))
        self.agendas = [Agenda(self.outlook, number) for number in range(len(submission.bundles))]
        self.record = _record(workspace, submission).with_(process=ProcessIdentity.own().as_record())
        self.crew = Crew(workspace, submission, self.record.job, _requests(submission))
        self.shapes = tuple(dict.fromkeys(bundle.shape for bundle in submission.bundles))
        self.stopping = self.tuning = False
        self.wanted: set[int] | None = None
        self._failed_starts = 0
        self._reported = 0.0
        self._busy_at = time.monotonic()

    def run(self) -> int:
        """Work until nothing is left that could be done here, or until told to stop; return the exit code."""
        signal.signal(signal.SIGTERM, self._on_stop)
        self.record.write(self.workspace)
        try:
            self._search()
            self._loop()
        except Stopped:
            pass
        finally:
            self.crew.stop(SAVE_SECONDS)
            self.record = self.record.with_(over=True, actors={}, waiting={})
            self.record.write(self.workspace)
        return 1 if self.record.trouble else 0

    def _loop(self) -> None:
        while not self.stopping and not self.record.trouble and self._unfinished():
            self.step()

    def _search(self) -> None:
        """Where the submission has a search: first what its trials stand on, then the trials, by Ray Tune."""
        search = Search.read(self.submission.search)
        if search is None:
            return
        stages = enumerate(self.submission.stages)
        trials = {number for number, one in stages if one.stage in search.trials}
        self.outlook.taken |= trials
        self.wanted = ancestors(self.submission, trials)
        self._loop()
        self.crew.stop(SAVE_SECONDS)
        self.outlook.taken = set(trials)
        if not self.stopping and not self.record.trouble and trials:
            self._tune(search)
        self.outlook.taken.clear()
        self.outlook.refresh(now=True)
        self.wanted = None
        self._busy_at = time.monotonic()

    def _tune(self, search: Search) -> None:
        """Ray Tune's part; a mistake in it is this driver's trouble, and `yates resume` tries again."""
        from cluster.ray.tuning import Tuning

        self._reported = 0.0
        self.report()
        tuning = Tuning(
            self.workspace, self.submission, search, self.outlook, self.crew.requests, self.record.job
        )
        self.tuning = True
        try:
            tuning.run()
        except Exception as error:
            traceback.print_exc()
            self.record = self.record.with_(trouble=f"the search failed: {_cause(str(error))}")
        finally:
            self.tuning = False

    def step(self) -> None:
        """Take in what happened, hand out what is ready."""
        ended, dead = self.crew.collect(WAIT_SECONDS)
        for member, stage, claimed in ended:
            self.outlook.taken.discard(stage)
            if not claimed:
                self.agendas[member.bundle].skip(stage)
        for death in dead:
            self._mourn(death)
        self.outlook.refresh(now=bool(ended or dead))
        starved = self._starved()
        for shape in self.shapes:
            self._hand_out(shape, starved)
            self._hire(shape)
        self._make_room(starved)
        self.report()

    def report(self) -> None:
        """Write what the actors do, a few times a minute."""
        if time.monotonic() - self._reported < REPORT_SECONDS:
            return
        self._reported = time.monotonic()
        placed = {shape: len(self.crew.of(shape, "idle", "busy")) for shape in self.shapes}
        waiting = {shape: len(self.crew.of(shape, "placing")) for shape in self.shapes}
        record = self.record.with_(actors=placed, waiting=waiting)
        if record != self.record:
            self.record = record
            record.write(self.workspace)

    def _hand_out(self, shape: str, starved: set[str]) -> None:
        """Give every idle actor the stage that its agenda names, unless it should make room for another shape."""
        for member in self.crew.of(shape, "idle"):
            if starved - {shape} and member.tenure > TENURE_SECONDS:
                continue
            number = self.agendas[member.bundle].next()
            if number is not None:
                self.outlook.taken.add(number)
                self.crew.give(member, number)
                self._busy_at = time.monotonic()

    def _hire(self, shape: str) -> None:
        """As many more actors as there are ready stages that nobody is there for; no more than places."""
        ready = self._ready(shape)
        placing = self.crew.of(shape, "placing")
        for bundle in self.crew.vacant(shape)[
            : max(0, ready - len(placing) - len(self.crew.of(shape, "idle")))
        ]:
            self.crew.hire(bundle)
        if not ready:
            for member in placing:
                self.crew.let_go(member)

    def _make_room(self, starved: set[str]) -> None:
        """Let idle actors go whose shape is through, or whose resources others have waited for."""
        for shape in self.shapes:
            through = not self._unfinished(shape)
            for member in self.crew.of(shape, "idle"):
                if through or starved - {shape}:
                    self.crew.let_go(member)

    def _starved(self) -> set[str]:
        """The shapes with ready stages that have no actor at all, and have waited for one."""
        found = set()
        for shape in self.shapes:
            placing = self.crew.of(shape, "placing")
            if placing and placing[0].seconds > STARVED_SECONDS and not self.crew.of(shape, "idle", "busy"):
                found.add(shape)
        return found

    def _ready(self, shape: str) -> int:
        """How many stages of a shape could begin now and are in nobody's hands."""
        return sum(
            stage.shape == shape
            and number not in self.outlook.taken
            and self.outlook.state(number) in ("ready", "open")
            for number, stage in enumerate(self.submission.stages)
        )

    def _unfinished(self, shape: str | None = None) -> bool:
        """Whether something may still be done, here or by those whom this waits for."""
        if time.monotonic() - self._busy_at > LINGER_SECONDS and not any(
            one.state == "busy" for one in self.crew
        ):
            return False
        self.outlook.refresh()
        known: dict[int, bool] = {}
        return any(
            shape in (None, stage.shape)
            and (self.wanted is None or number in self.wanted)
            and self.outlook.state(number) != "done"
            and self.outlook.may_finish(number, known)
            for number, stage in enumerate(self.submission.stages)
        )

    def _mourn(self, death: Death) -> None:
        """Write down how a dead actor's attempt ended; give up when actors cannot even start."""
        member = death.member
        if member.stage is not None:
            self.outlook.taken.discard(member.stage)
        print(f"{member.name} ended: {death.reason}", flush=True)
        self.outlook.refresh(now=True)
        if death.out_of_memory:
            end_attempts(
                self.workspace, self.outlook.index, member.name, "host_out_of_memory", _memory(death)
            )
        else:
            reason = f"its actor died: {_first_line(death.reason)}"
            end_attempts(self.workspace, self.outlook.index, member.name, "lost", reason)
        (self.workspace.supervisors / f"{member.name}.json").unlink(missing_ok=True)
        self._failed_starts = 0 if death.placed else self._failed_starts + 1
        if self._failed_starts >= FAILED_STARTS:
            self.record = self.record.with_(trouble=f"no actor starts: {_cause(death.reason)}")

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True
        if self.tuning:
            raise Stopped


def ancestors(submission: Submission, numbers: Iterable[int]) -> set[int]:
    """All that the stages with these numbers stand on."""
    found: set[int] = set()
    pending = [parent for number in numbers for parent in submission.stages[number].parents]
    while pending:
        number = pending.pop()
        if number not in found:
            found.add(number)
            pending.extend(submission.stages[number].parents)
    return found


def _record(workspace: Workspace, submission: Submission) -> DriverRecord:
    try:
        return read_driver(workspace, submission.id)
    except (FileNotFoundError, WorkspaceError):
        return DriverRecord(submission.id, f"yates-{submission.id}", "")


def _requests(submission: Submission) -> dict[str, Request]:
    nodes = [
        Node(one["NodeID"], one["NodeManagerHostname"], one["Resources"])
        for one in cast(Any, ray).nodes()
        if one["Alive"]
    ]
    return {shape: request_of(needs, nodes) for shape, needs in submission.shapes.items()}


def _memory(death: Death) -> str:
    return f"Ray ended the actor: out of memory ({_first_line(death.reason)})"


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:200] if text.strip() else "Ray does not say how"


def _cause(text: str) -> str:
    """The last line of Ray's account: the exception in the actor."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "Ray does not say why"


def main() -> None:
    """Drive one submission, then have the tail look at what is left."""
    parser = argparse.ArgumentParser(prog="python -m cluster.ray.driver")
    parser.add_argument("workspace", type=Path)
    parser.add_argument("submission")
    arguments = parser.parse_args()
    workspace = Workspace(arguments.workspace)
    ray.init(address="auto", log_to_driver=False, logging_level=logging.WARNING)
    driver = Driver(workspace, Submission.read(workspace, arguments.submission))
    code = driver.run()
    ray.shutdown()
    if not driver.stopping:
        command = [sys.executable, "-m", TAIL, str(arguments.workspace), arguments.submission]
        code = max(code, subprocess.run(command, check=False).returncode)
    sys.exit(code)


if __name__ == "__main__":
    main()
