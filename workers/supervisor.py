"""The supervisor of a bundle: a light process (no torch) with one warm child.

It claims stages, keeps the heartbeat, takes signals, kills what hangs, records how attempts ended, commits what
the child finished, and gives itself a fresh child after a crash. Started by a backend as

    python -m workers.supervisor --workspace DIR --submission ID --bundle N --name NAME
"""

import argparse
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from results.files import WorkspaceError
from results.journal import Index
from results.layout import Workspace
from results.records import Commit, Ending
from workers.agenda import Agenda
from workers.attempts import Attempt, Claimant, read_commit
from workers.checkpoints import newest_checkpoint
from workers.failures import next_micro_batch, whole_batch
from workers.fingerprints import of_execution
from workers.nursery import ChildProcess
from workers.outlook import Outlook
from workers.recipe import Execution
from workers.stage import Stage
from workers.strategies import division, suits
from workers.submission import Submission, later_submissions, register_supervisor
from workers.watch import StopReason, Watch

POLL_SECONDS = 0.1
WAIT_SECONDS = 0.2
CHILD_STAGES = 400
TROUBLES = 60
EARLY_WARNING_SECONDS = 60.0

OnReport = Callable[[int, dict[str, float]], bool]
WORDS: dict[Ending, str] = {"early_stopped": "the search found others better"}
UNREADABLE = (WorkspaceError, OSError, ImportError, SyntaxError, ValueError, KeyError, TypeError)


@dataclass
class Supervisor:
    """One bundle's run. `linger` is how long it waits, with nothing ready, for what others still run.

    `on_report` is asked at each figure that a stage reports (step, values) whether the stage is to go on; the
    stage waits for the answer. At `deadline` (seconds since the epoch) it saves itself and ends. Afterwards `stop`
    and `stopped_by` (a signal) say why it ended early, and `advanced` whether a stage was committed or got further.
    """

    workspace: Workspace
    submission: Submission
    bundle: int
    name: str
    job: str | None = None
    linger: float = 3600.0
    deadline: float | None = None
    node: str = ""
    stop: StopReason | None = None
    stopped_by: int | None = None
    advanced: bool = False
    child: ChildProcess | None = None
    on_report: OnReport | None = None
    _troubles: int = 0

    def __post_init__(self) -> None:
        self.claimant = Claimant(self.workspace, self.name, self.submission.backend, self.job)
        self.agenda = self._own_agenda()

    def run(self) -> None:
        """Work until nothing is left that this bundle could do, or until told to stop."""
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGUSR2, self._on_stop)
        self.open()
        try:
            self._work()
            while self.stop is None and self._adopt():
                self._work()
        finally:
            self.close()

    def open(self) -> None:
        """Make itself known in `supervisors/`."""
        register_supervisor(
            self.workspace,
            self.submission,
            self.bundle,
            self.name,
            self.claimant.identity,
            self.job,
            self.node,
        )

    def close(self) -> None:
        """End the child and take its leave."""
        if self.child is not None:
            self.child.close()
        (self.workspace.supervisors / f"{self.name}.json").unlink(missing_ok=True)

    def _work(self) -> None:
        idle_since = time.monotonic()
        while self.stop is None:
            number = self.agenda.next()
            if number is not None:
                if self.take(number):
                    idle_since = time.monotonic()
            elif time.monotonic() - idle_since > self.linger or not self.agenda.unfinished():
                return
            else:
                self.warm()
                time.sleep(WAIT_SECONDS)
            self._check_deadline()

    def _adopt(self) -> bool:
        """Turn to the next later submission to the same backend that has a bundle of the same shape.

        So a grid that was submitted while every slot was taken is not left to lie.
        """
        shape = self.submission.bundles[self.bundle].shape
        for later in later_submissions(self.workspace, self.submission):
            bundle = next((number for number, one in enumerate(later.bundles) if one.shape == shape), None)
            if bundle is not None:
                self.submission, self.bundle = later, bundle
                self.agenda = self._own_agenda()
                return True
        return False

    def take(self, number: int) -> bool:
        """Try to claim a stage and run it to the end of its attempt; tell whether it was claimed.

        A filesystem that refuses for a moment does not end the supervisor.

        Raises:
            OSError: the filesystem refuses for good.
        """
        try:
            taken = self._take(number)
        except OSError:
            self._troubles += 1
            if self._troubles >= TROUBLES:
                raise
            time.sleep(1.0)
            return False
        self._troubles = 0
        return taken

    def _take(self, number: int) -> bool:
        if not self._parents_stand(number):
            return False
        try:
            stage = Stage.read(self.workspace, self.submission.stages[number].stage)
        except UNREADABLE as error:
            return self._refuse(number, error)
        execution = self._execution(number, stage)
        attempt = self.claimant.claim(stage.id, stage.kind.name, execution.model_dump(mode="json"))
        if attempt is None:
            self.agenda.skip(number)
        else:
            try:
                self._attempt(attempt, stage, execution)
            except OSError as error:
                self._give_up(attempt, error)
        self.agenda.refresh(now=True)
        return attempt is not None

    def _parents_stand(self, number: int) -> bool:
        """Whether every parent's commit is sound; one that is not is struck from the index, to be computed again."""
        index, stages = self.agenda.index, self.submission.stages
        for parent in (stages[place].stage for place in stages[number].parents):
            if read_commit(self.workspace, parent) is None:
                self.claimant.journal.forgotten(parent, index.done.get(parent, ""))
                self.agenda.refresh(now=True)
                return False
        return True

    def _refuse(self, number: int, error: Exception) -> bool:
        """Record that a stage cannot even be read, so that the others go on."""
        submitted = self.submission.stages[number]
        attempt = self.claimant.claim(submitted.stage, submitted.kind, {})
        if attempt is None:
            self.agenda.skip(number)
        else:
            attempt.record["fingerprint"] = {"code": self.submission.code}
            attempt.end("bad_input", f"its stage.json cannot be used ({error}); submit the grid again")
        self.agenda.refresh(now=True)
        return False

    def _execution(self, number: int, stage: Stage) -> Execution:
        planned = self.submission.executions[self.submission.stages[number].execution]
        share = max(1, whole_batch(stage.recipe) // planned.processes)
        micro_batch = next_micro_batch(self.agenda.index.standing(stage.id), share)
        return planned if micro_batch is None else planned.model_copy(update={"micro_batch": micro_batch})

    def _attempt(self, attempt: Attempt, stage: Stage, execution: Execution) -> None:
        """Run one attempt from its start to its recorded end."""
        child = self._ready_child(stage)
        with attempt.beating():
            checkpoint = newest_checkpoint(self.workspace, stage.id, lambda found: suits(found, execution))
        child.fingerprint.setdefault("code", self.submission.code)
        attempt.record["resumed_from"] = None if checkpoint is None else int(checkpoint.name)
        child.run(
            {
                "stage": stage.id,
                "token": attempt.record["token"],
                "execution": execution.model_dump(mode="json"),
                "resume_from": None if checkpoint is None else str(checkpoint),
                "hub_map": self.submission.hub_map,
                "lockstep": self.on_report is not None,
            }
        )
        last = self._watch(attempt, execution)  # by now a new child has said what it runs on
        attempt.record["fingerprint"] = child.fingerprint | division(execution) | of_execution(execution)
        self._end(attempt, last)
        self.advanced = self.advanced or _got_further(attempt)

    def _watch(self, attempt: Attempt, execution: Execution) -> dict[str, Any]:
        """Follow the child until it says how the stage went, or dies, hangs, or must stop."""
        assert self.child is not None
        watch = Watch(self.workspace, attempt, execution.hang_seconds)
        while True:
            for message in self.child.receive(POLL_SECONDS):
                if message["event"] == "progress":
                    watch.advance(message["step"])
                elif message["event"] == "report":
                    self._answer(message, watch)
                else:
                    watch.advance(message["step"])
                    return {**message, "reason": watch.stopping}
            if not self.child.alive:
                return {"event": "died", **self.child.death(), "reason": watch.stopping}
            self._check_deadline()
            watch.look(self.stop, self.child)

    def _answer(self, report: dict[str, Any], watch: Watch) -> None:
        """Ask whether a stage is to go on after what it reported, and tell it."""
        assert self.child is not None
        watch.advance(report["step"])
        if self.on_report is not None and not self.on_report(report["step"], report["values"]):
            watch.end_early(self.child)
        self.child.answer()

    def _end(self, attempt: Attempt, last: dict[str, Any]) -> None:
        """Turn the child's last word into the attempt's ending."""
        if last["event"] == "finished":
            assert self.child is not None
            attempt.record["seconds"] = {**last["seconds"], "startup": self.child.take_startup_seconds()}
            attempt.record["peak_memory_bytes"] = last["peak_memory_bytes"]
            attempt.record["peak_gpu_memory_bytes"] = last["peak_gpu_memory_bytes"]
            self._commit(attempt, last)
        elif last["reason"] is not None:
            attempt.end(last["reason"], last.get("message") or WORDS.get(last["reason"]))
        elif last["event"] == "stopped":
            attempt.end("preempted", "the worker was asked to stop")
        else:
            attempt.end(last["ending"], last["message"], last.get("traceback"))
        self._retire_child(last)

    def _commit(self, attempt: Attempt, last: dict[str, Any]) -> None:
        commit = Commit(
            stage=attempt.record["stage"],
            kind=attempt.record["kind"],
            attempt=attempt.record["token"],
            outcome=last["outcome"],
            finished=time.time(),
            output_digest=last["output_digest"],
            metrics=last["metrics"],
            record=attempt.record,
        )
        attempt.record["message"] = last["message"]
        attempt.commit(commit)

    def _give_up(self, attempt: Attempt, error: OSError) -> None:
        """The filesystem refused: drop the child, try to say so, and let the caller go on or end."""
        if self.child is not None:
            self.child.close()
            self.child = None
        try:
            attempt.end("transient", f"the workspace could not be written: {error}")
        except OSError:
            time.sleep(1.0)

    def _retire_child(self, last: dict[str, Any]) -> None:
        """Give the next stage a fresh child after a crash, a GPU error, or very many stages."""
        assert self.child is not None
        broken = last["event"] == "died" or last.get("ending") in ("gpu_out_of_memory", "host_out_of_memory")
        cuda = "CUDA error" in (last.get("message") or "")
        if broken or cuda or self.child.stages >= CHILD_STAGES:
            self.child.close()
            self.child = None

    def warm(self) -> None:
        """Start the child while there is nothing to run yet, so that its imports are over when there is."""
        if self.child is None:
            self._start_child()

    def _ready_child(self, stage: Stage) -> ChildProcess:
        if self.child is None or not self.child.alive:
            self._start_child()
        assert self.child is not None
        return self.child

    def _start_child(self) -> None:
        kinds = {
            self.submission.stages[number].stage: None
            for number in self.submission.bundles[self.bundle].stages
        }
        runners = set()
        for identity in list(kinds)[:50]:
            with suppress(*UNREADABLE):
                runners.add(Stage.read(self.workspace, identity).kind.runner)
        log = self.workspace.logs / f"{self.name}.log"
        self.child = ChildProcess(self.workspace, log, sorted(runners))

    def _check_deadline(self) -> None:
        if self.deadline is not None and time.time() >= self.deadline:
            self.stop = self.stop or "timeout"

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.stopped_by = self.stopped_by or number
        self.stop = self.stop or ("timeout" if self._near_deadline() else "preempted")

    def _near_deadline(self) -> bool:
        """Slurm's warning before the time limit may come a minute early."""
        return self.deadline is not None and time.time() >= self.deadline - EARLY_WARNING_SECONDS

    def _own_agenda(self) -> Agenda:
        outlook = Outlook(self.workspace, self.submission, self.submission.code, Index(self.workspace))
        return Agenda(outlook, self.bundle)


def _got_further(attempt: Attempt) -> bool:
    """Whether an ended attempt committed, or passed the step that it started from."""
    record = attempt.record
    return record["ending"] in ("done", "diverged") or record["step"] > (record["resumed_from"] or 0)


def main() -> None:
    """Run one bundle, then fold what was committed into the store."""
    parser = argparse.ArgumentParser(prog="python -m workers.supervisor")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--submission", required=True)
    parser.add_argument("--bundle", type=int, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--linger", type=float, default=3600.0)
    arguments = parser.parse_args()
    workspace = Workspace(arguments.workspace)
    submission = Submission.read(workspace, arguments.submission)
    job = os.environ.get("SLURM_JOB_ID")
    Supervisor(workspace, submission, arguments.bundle, arguments.name, job, arguments.linger).run()
    from results.store import compact_fully

    compact_fully(workspace)


if __name__ == "__main__":
    main()
