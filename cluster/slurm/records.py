"""Job records: which array of which submission went to Slurm, under which name and number.

Written before sbatch is called, without the number, and again with it. So an array that was accepted by Slurm
when the driver died is found again by its name, and one that was never accepted is known to be missing.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from cluster.slurm.commands import SlurmError, run
from cluster.slurm.queue import Element, Queue
from results.files import WorkspaceError, json_bytes, read_json, write_atomic
from results.journal import Index
from results.layout import Workspace
from workers.submission import Submission


@dataclass(frozen=True)
class JobRecord:
    """One call of sbatch: element N of the array runs bundle `bundles[N]` of the submission; a tail runs none.

    `limit_seconds` is the time limit that was asked for.
    """

    submission: str
    part: str
    name: str
    bundles: tuple[int, ...] = ()
    limit_seconds: float = 0.0
    created: float = field(default_factory=time.time)
    job: str | None = None

    @property
    def is_tail(self) -> bool:
        """Whether it is the job that looks after the others."""
        return not self.bundles

    def write(self, workspace: Workspace) -> None:
        """Write `jobs/<submission>-<part>.json`."""
        write_atomic(workspace.jobs / f"{self.submission}-{self.part}.json", json_bytes(asdict(self)))

    def submitted_as(self, job: str) -> "JobRecord":
        """The record with the number that Slurm gave."""
        return replace(self, job=job)

    def elements(self, queue: Queue) -> list[Element]:
        """Its elements that the controller still lists."""
        return queue.of(self.job, self.name)

    def forget(self, workspace: Workspace) -> None:
        """Take the record back: sbatch refused."""
        (workspace.jobs / f"{self.submission}-{self.part}.json").unlink(missing_ok=True)


def read_record(workspace: Workspace, submission: str, part: str) -> JobRecord:
    """One job record.

    Raises:
        FileNotFoundError: there is no such record.
        WorkspaceError: its file is damaged.
    """
    return _from_json(read_json(workspace.jobs / f"{submission}-{part}.json"))


def read_records(workspace: Workspace) -> Iterator[JobRecord]:
    """Every job record that can be read."""
    for path in sorted(workspace.jobs.glob("*.json")):
        try:
            yield _from_json(read_json(path))
        except (WorkspaceError, TypeError, KeyError, FileNotFoundError):
            continue


def bundle_stages(
    workspace: Workspace, record: JobRecord, elements: Iterable[Element]
) -> dict[Element, set[str]]:
    """The stages in the bundle of each element of an array; nothing where the submission cannot be read."""
    try:
        submission = Submission.read(workspace, record.submission)
    except (FileNotFoundError, WorkspaceError, TypeError, KeyError, ValueError):
        return {}
    found = {}
    for one in elements:
        if one.task < len(record.bundles):
            numbers = submission.bundles[record.bundles[one.task]].stages
            found[one] = {submission.stages[number].stage for number in numbers}
    return found


def release_stuck(workspace: Workspace, queue: Queue) -> None:
    """Let elements run again that Slurm holds after a failed launch; what a person holds stays held.

    The tail would wait for them for ever. One whose stages are all done is cancelled instead: such elements are left
    when a controller lost its state, started the jobs a second time, and the nodes refused the second copies.
    """
    stuck = {
        record: held
        for record in read_records(workspace)
        if (held := [one for one in record.elements(queue) if one.stuck])
    }
    if not stuck:
        return
    index = Index(workspace)
    index.refresh()
    for record, elements in stuck.items():
        left = bundle_stages(workspace, record, elements)
        for one in elements:
            over = one in left and left[one] <= index.done.keys()
            with suppress(SlurmError):
                run(["scancel", one.id] if over else ["scontrol", "release", one.id])


def _from_json(content: Any) -> JobRecord:
    return JobRecord(**{**content, "bundles": tuple(content["bundles"])})
