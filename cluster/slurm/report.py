"""What the queue looks like, for `status` and `why`: counts, reasons, held jobs, bad nodes."""

from collections import Counter
from dataclasses import dataclass, field

from cluster.profile import Profile
from cluster.slurm.autopsy import bad_nodes
from cluster.slurm.commands import SlurmError
from cluster.slurm.queue import STARTED, Element, Queue, launch_failed
from cluster.slurm.records import bundle_stages, read_records
from results.layout import Workspace


@dataclass(frozen=True)
class QueueReport:
    """The workspace's jobs in Slurm's queue. `unreachable` says why nothing is known, and is empty otherwise.

    `pending` counts waiting jobs by Slurm's reason; `tails` are the jobs that look after the others.
    """

    running: int = 0
    pending: dict[str, int] = field(default_factory=dict)
    tails: int = 0
    excluded: tuple[str, ...] = ()
    unreachable: str = ""

    @property
    def lines(self) -> list[str]:
        """The report for a person."""
        if self.unreachable:
            return [f"slurm: the queue is not known now ({self.unreachable})"]
        waiting = ", ".join(f"{count} wait ({reason})" for reason, count in self.pending.items())
        parts = [f"{self.running} jobs run", waiting, "the tail job waits" if self.tails else ""]
        lines = [f"slurm: {', '.join(part for part in parts if part)}"]
        if any(launch_failed(reason) for reason in self.pending):
            lines.append("slurm: `yates resume` releases the jobs that are held after a failed launch")
        if self.excluded:
            lines.append(f"slurm: nodes that lost jobs repeatedly are left out: {', '.join(self.excluded)}")
        return lines


def queue_report(workspace: Workspace, profile: Profile | None = None) -> QueueReport | None:
    """The report of a workspace; None where nothing of it ever went to Slurm."""
    records = list(read_records(workspace))
    if not records:
        return None
    excluded = bad_nodes(workspace, total_nodes(profile))
    try:
        queue = Queue.read()
    except SlurmError as error:
        return QueueReport(excluded=excluded, unreachable=str(error))
    jobs = [one for record in records if not record.is_tail for one in record.elements(queue)]
    pending = Counter(one.reason for one in jobs if one.alive and one.state not in STARTED)
    tails = [one for record in records if record.is_tail for one in record.elements(queue) if one.alive]
    running = sum(one.state in STARTED for one in jobs)
    return QueueReport(running, dict(pending.most_common()), len(tails), excluded)


def total_nodes(profile: Profile | None) -> int | None:
    """How many nodes the profile's partitions have, as far as it says."""
    counts = [one.nodes for one in profile.partitions] if profile is not None else [None]
    return None if None in counts else max(count for count in counts if count is not None)


def waiting_job(workspace: Workspace, stage: str) -> Element | None:
    """The job in the queue whose bundle holds `stage`, or None when there is none or Slurm cannot be asked."""
    try:
        queue = Queue.read()
    except SlurmError:
        return None
    for record in read_records(workspace):
        alive = [one for one in record.elements(queue) if one.alive]
        if alive and not record.is_tail:
            for one, stages in bundle_stages(workspace, record, alive).items():
                if stage in stages:
                    return one
    return None
