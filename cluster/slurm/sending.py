"""Sending a submission to Slurm: arrays one after another, within the limits, then the tail.

A record is written before each call of sbatch. A refusal because of a limit makes the array smaller; a controller
that does not answer is asked again, after looking whether it took the array all the same.
"""

import shlex
import sys
import time
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from cluster.code import code_environment
from cluster.profile import Profile
from cluster.slurm.arrays import Array, job_name, make_arrays
from cluster.slurm.commands import ArrayTooLarge, LimitReached, SlurmError, Unreachable, run
from cluster.slurm.executor import make_executor
from cluster.slurm.job import warning_seconds
from cluster.slurm.limits import read_limits
from cluster.slurm.queue import Queue
from cluster.slurm.records import JobRecord
from results.layout import Workspace
from workers.submission import Submission

TRIES = 5
PAUSE_SECONDS = 1.0
TAIL_HOURS = 1.0
TAIL_MEMORY_GB = 2.0
TAIL_PART = "tail"
ROOM_FOR_TAIL = 3
"""So many elements are given up at most, to make room for the tail under a limit that nobody told us."""


@dataclass
class Sender:
    """One submission on its way to Slurm. `jobs` are the arrays that Slurm took: shape and number."""

    workspace: Workspace
    submission: Submission
    profile: Profile
    excluded: tuple[str, ...] = ()
    jobs: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _room: int | None = None
    _array_size: int = 1
    _last_elements: list[str] = field(default_factory=list)

    def send(self) -> int:
        """Submit all arrays that fit, and the tail; return how many bundles Slurm took.

        Raises:
            SlurmError: nothing could be submitted at all.
        """
        limits = read_limits(self.profile)
        free = limits.free(Queue.read().submitted)
        self._room = None if free is None else free - self.profile.tail
        self._array_size = limits.array_size
        taken = 0
        try:
            for array in make_arrays(self.submission, limits.array_size):
                taken += self._send_array(array)
        finally:
            if self.jobs:  # also when a later array was refused: what runs is looked after
                self._send_tail()
        if not taken and self.submission.bundles:
            raise LimitReached(
                "no job fits under the limit on submitted jobs now; `yates resume` when some of yours have ended"
            )
        left = len(self.submission.bundles) - taken
        if left:
            self.notes.append(f"{left} bundles wait for the tail job: the limit on submitted jobs is reached")
        return taken

    def _send_array(self, array: Array) -> int:
        """Submit as much of an array as Slurm takes, in one call if it can; return how many bundles."""
        sent, size = 0, len(array.bundles)
        while sent < len(array.bundles):
            size = min(size, len(array.bundles) - sent, self._array_size)
            if self._room is not None:
                size = min(size, self._room)
            if size < 1:
                break
            try:
                self._submit(array, array.bundles[sent : sent + size])
            except LimitReached:
                size //= 2
                self._room = size
            except ArrayTooLarge:
                if size == 1:
                    raise
                size = self._array_size = size // 2
            else:
                sent += size
                self._room = None if self._room is None else self._room - size
        return sent

    def _submit(self, array: Array, bundles: tuple[int, ...]) -> None:
        needs = self.submission.shapes.get(array.shape, {})
        allocation = self.profile.allocation(needs)
        limit = 60.0 * max(1, int(60 * allocation.hours + 1e-6))  # Slurm's own limits are whole minutes
        part = f"a{len(self.jobs):04d}"
        name = job_name(self.submission, bundles, part)
        record = JobRecord(self.submission.id, part, name, bundles, limit)
        parameters = {
            **self._common(name, allocation.partition, limit),
            "cpus_per_task": allocation.cpus,
            "mem": f"{ceil(allocation.memory_gb * 1024)}MB",
            "array_parallelism": self.profile.array_throttle,
            "signal_delay_s": warning_seconds(self.profile, limit),
            # From 22.05 on srun no longer takes the number of cores from the job.
            "srun_args": [f"--cpus-per-task={allocation.cpus}", "--kill-on-bad-exit=0", *self.profile.srun],
        }
        if allocation.gpus is not None:
            parameters["gpus_per_node"] = allocation.gpus
        before = [job for shape, job in self.jobs if shape in array.after]
        if before:
            parameters["dependency"] = f"afterany:{':'.join(before)}"
        command = self._python("-m", "cluster.slurm.job", *self._place(), part)
        job = self._call(record, parameters, command, len(bundles))
        self.jobs.append((array.shape, job))
        self._last_elements = [f"{job}_{task}" for task in range(1, len(bundles))]

    def _send_tail(self) -> None:
        """Submit the tail job, which waits until every array has ended, however it ended."""
        if not self.profile.tail:
            return
        partition, hours = self.profile.tail_place(TAIL_HOURS, TAIL_MEMORY_GB)
        name = job_name(self.submission, (), TAIL_PART)
        parameters = {
            **self._common(name, partition, 3600.0 * hours),
            "cpus_per_task": 1,
            "mem": f"{ceil(TAIL_MEMORY_GB * 1024)}MB",
            "use_srun": False,
            "dependency": f"afterany:{':'.join(job for _, job in self.jobs)}",
        }
        if self.profile.mail:
            parameters["mail_user"], parameters["mail_type"] = self.profile.mail, "END,FAIL"
        command = self._python("-m", "orchestrator.tail", *self._place())
        record = JobRecord(self.submission.id, TAIL_PART, name)
        try:
            self._call_making_room(record, parameters, command)
        except SlurmError as error:
            self.notes.append(
                f"the tail job was not submitted ({error}); run `yates resume` when the jobs ended"
            )

    def _call_making_room(self, record: JobRecord, parameters: dict[str, Any], command: str) -> None:
        """Submit the tail; where a limit leaves no room for it, the last elements of the last array make some."""
        for _ in range(ROOM_FOR_TAIL):
            try:
                self._call(record, parameters, command, None)
                return
            except LimitReached:
                element = self._last_elements.pop() if self._last_elements else None
                if element is None:
                    raise
                run(["scancel", element])
                time.sleep(PAUSE_SECONDS)
        self._call(record, parameters, command, None)

    def _call(self, record: JobRecord, parameters: dict[str, Any], command: str, count: int | None) -> str:
        """One array or job, recorded before and after; asked again while the controller does not answer."""
        record.write(self.workspace)
        executor = make_executor(self.workspace.logs.resolve() / "slurm", parameters)
        for attempt in range(TRIES):
            try:
                job = executor.submit_array(command, count)
                break
            except Unreachable:
                time.sleep(PAUSE_SECONDS * 2**attempt)
                found = _find(record)  # it may have been taken though Slurm did not say so
                if found is not None:
                    job = found
                    break
                if attempt == TRIES - 1:
                    record.forget(self.workspace)
                    raise
            except SlurmError:
                record.forget(self.workspace)
                raise
        record.submitted_as(job).write(self.workspace)
        return job

    def _common(self, name: str, partition: str, limit_seconds: float) -> dict[str, Any]:
        """Parameters of every job, by submitit's names without `slurm_`."""
        profile = self.profile
        extra = {"requeue": True, **profile.sbatch}
        options = {
            "job_name": name,
            "partition": partition,
            "time": int(limit_seconds // 60),
            "nodes": 1,
            "ntasks_per_node": 1,
            "account": profile.account,
            "qos": profile.qos,
            "constraint": profile.constraint,
            "exclude": ",".join(self.excluded) or None,
            "comment": f"yates {self.workspace.root.resolve()}",
            "stderr_to_stdout": True,
            "setup": [*profile.setup, *self._exports()],
            "additional_parameters": {key: value for key, value in extra.items() if value is not False},
        }
        return {key: value for key, value in options.items() if value is not None}

    def _exports(self) -> list[str]:
        """Lines that point the job at the frozen code; nothing else of the environment is written down."""
        environment = code_environment(self.workspace, self.submission.code)
        return [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]

    def _python(self, *arguments: str) -> str:
        container = [self.profile.container] if self.profile.container else []
        python = shlex.quote(self.profile.python or sys.executable)
        return " ".join([*container, python, *map(shlex.quote, arguments)])

    def _place(self) -> tuple[str, str]:
        return str(self.workspace.root.resolve()), self.submission.id


def _find(record: JobRecord) -> str | None:
    """The number of a job that Slurm took though it did not say so; None when it surely did not.

    Raises:
        Unreachable: that cannot be known now. The record stays, and finds the job by its name later.
    """
    elements = record.elements(Queue.read())
    return elements[0].job if elements else None
