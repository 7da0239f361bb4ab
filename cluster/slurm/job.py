"""What a job of an array runs: the supervisor of one bundle, under Slurm's signals and time limit.

    python -m cluster.slurm.job WORKSPACE SUBMISSION PART

Slurm warns with SIGUSR2 before the time limit and before a preemption; the job then saves itself and has itself
put back into the queue. SIGTERM (scancel, the end of a grace time) saves and ends; the tail job does the rest.
"""

import argparse
import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cluster.profile import Profile
from cluster.slurm.commands import SlurmError
from cluster.slurm.queue import Queue
from cluster.slurm.records import JobRecord, read_record, release_stuck
from results.layout import Workspace
from workers.submission import Submission
from workers.supervisor import Supervisor

REQUEUE_SECONDS = 30.0


def main() -> None:
    """Run the bundle of this array element."""
    parser = argparse.ArgumentParser(prog="python -m cluster.slurm.job")
    parser.add_argument("workspace", type=Path)
    parser.add_argument("submission")
    parser.add_argument("part")
    arguments = parser.parse_args()
    workspace = Workspace(arguments.workspace)
    record = read_record(workspace, arguments.submission, arguments.part)
    BundleJob(workspace, Submission.read(workspace, record.submission), record).run()


@dataclass
class BundleJob:
    """One element of an array, in one of its runs."""

    workspace: Workspace
    submission: Submission
    record: JobRecord

    def run(self) -> None:
        """Supervise the bundle; afterwards go back to the queue if Slurm cut it short and work is left."""
        started = time.time()
        profile = Profile.model_validate(self.submission.profile)
        task = int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))
        bundle = self.record.bundles[task]
        name = f"{self.submission.id}-{bundle:04d}-{secrets.token_hex(3)}"
        self._log_to(name)
        supervisor = Supervisor(
            self.workspace,
            self.submission,
            bundle,
            name,
            job=f"{os.environ.get('SLURM_ARRAY_JOB_ID') or os.environ.get('SLURM_JOB_ID', '')}_{task}",
            linger=profile.linger_seconds,
            deadline=started
            + self.record.limit_seconds
            - warning_seconds(profile, self.record.limit_seconds),
            node=os.environ.get("SLURMD_NODENAME", ""),
        )
        supervisor.run()
        with suppress(SlurmError):
            release_stuck(self.workspace, Queue.read())
        if profile.requeue and wants_requeue(supervisor):
            requeue()

    def _log_to(self, name: str) -> None:
        """Print from now on into the supervisor's own log, where `yates logs` looks."""
        self.workspace.logs.mkdir(parents=True, exist_ok=True)
        log = os.open(self.workspace.logs / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log, stream.fileno())
        os.close(log)


def warning_seconds(profile: Profile, limit_seconds: float) -> int:
    """How long before its time limit a job saves itself: as the profile says, at most a quarter of the limit."""
    return max(5, min(profile.signal_seconds, int(limit_seconds / 4)))


def wants_requeue(supervisor: Supervisor) -> bool:
    """Whether the job was cut short by a warning, has got something done, and has something left to do.

    A job that got nothing done is left to the tail, which looks at why.
    """
    warned = supervisor.stopped_by == signal.SIGUSR2 or supervisor.stop == "timeout"
    return warned and supervisor.advanced and supervisor.agenda.unfinished()


def requeue() -> None:
    """Put this job back into the queue; where Slurm refuses, the tail job takes what is left."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ.get("SLURM_JOB_ID")
    if job is None:
        return
    # Slurm ends this process with SIGTERM as part of the requeue: everything is saved already.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"scontrol requeue {job} refused: {done.stderr.strip()}", file=sys.stderr)
        return
    time.sleep(REQUEUE_SECONDS)


if __name__ == "__main__":
    main()
