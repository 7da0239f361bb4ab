"""The first job of a submission: seen to start, so that what Slurm would say too late is said at once.

An unwritable log directory, a workspace that the node cannot see, or a Python that is not there end every job at its
start, some of them without a log.
"""

import time
from pathlib import Path

from cluster.slurm.commands import SlurmError, run
from cluster.slurm.queue import Element, Queue
from cluster.slurm.records import JobRecord, read_records
from results.layout import Workspace
from workers.submission import Submission

WATCH_SECONDS = 3.0
RUNNING_SECONDS = 0.7
"""What fails for want of a log directory, the workspace or Python fails sooner."""
BUSY = ("Resources", "Priority", "ReqNodeNotAvail", "QOS", "Assoc", "BeginTime", "Dependency", "Nodes")
FAILED = ("FAILED", "BOOT_FAIL", "LAUNCH_FAILED", "REQUEUE_HOLD")


def watch_first_job(workspace: Workspace, submission: Submission, seconds: float = WATCH_SECONDS) -> None:
    """Return when a supervisor of the submission has started, or none can be expected to for now.

    Raises:
        SlurmError: a job failed before it started one; everything of the submission is cancelled.
    """
    records = [one for one in read_records(workspace) if one.submission == submission.id]
    deadline = time.monotonic() + seconds
    seen_running = False
    while time.monotonic() < deadline and not _started(workspace, submission):
        try:
            queue = Queue.read()
        except SlurmError:
            return
        jobs = [one for record in records if not record.is_tail for one in record.elements(queue)]
        failed = next((one for one in jobs if one.state in FAILED), None)
        if failed is not None and not _started(workspace, submission):
            _cancel(records)
            raise SlurmError(_explain(workspace, failed))
        if not seen_running and any(one.state == "RUNNING" for one in jobs):
            seen_running, deadline = True, min(deadline, time.monotonic() + RUNNING_SECONDS)
        if jobs and all(one.state == "PENDING" and one.reason.startswith(BUSY) for one in jobs):
            return
        time.sleep(0.2)


def _started(workspace: Workspace, submission: Submission) -> bool:
    """Whether a worker of the submission has said a word."""
    return any(workspace.journals.glob(f"{submission.id}-*.jsonl")) or any(
        workspace.supervisors.glob(f"{submission.id}-*.json")
    )


def _cancel(records: list[JobRecord]) -> None:
    jobs = [record.job for record in records if record.job is not None]
    if jobs:
        run(["scancel", *jobs])


def _explain(workspace: Workspace, element: Element) -> str:
    """What is known of a job that failed before it started Yates."""
    log = log_of(workspace, element.id)
    said = last_words(log)
    if said:
        return (
            f"the first job ({element.id} on {element.node}) failed: {said} ({log}); the others are cancelled"
        )
    return (
        f"the first job ({element.id} on {element.node}) ended before it could write its log: is "
        f"{workspace.logs.resolve()} on a filesystem that the node sees, and writable there? "
        "`yates doctor --on slurm` looks closer; the other jobs are cancelled"
    )


def log_of(workspace: Workspace, job: str) -> Path | None:
    """The file into which Slurm wrote what job `123` or element `123_4` printed before Yates's own log began."""
    return next(iter((workspace.logs / "slurm").glob(f"{job}_*_log.out")), None)


def last_words(log: Path | None) -> str:
    """The last line of a log that says why; srun's own, which only says that a task ended, come second."""
    lines = log.read_text(errors="replace").strip().splitlines() if log is not None else []
    telling = [line for line in lines if not line.startswith("srun:")] or lines
    return telling[-1].strip() if telling else ""
