"""The `slurm` backend: a submission's bundles as job arrays, and a tail job that looks after them.

It keeps no state: job records in the workspace, squeue and sacct hold it all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cluster.profile import Profile
from cluster.slurm.autopsy import bad_nodes, forgive_nodes, perform, slurm_supervisors
from cluster.slurm.commands import SlurmError, run
from cluster.slurm.queue import STARTED, Element, Queue
from cluster.slurm.records import JobRecord, read_records
from cluster.slurm.report import total_nodes
from results.files import WorkspaceError
from results.journal import Index
from results.layout import Workspace
from workers.processes import ProcessIdentity
from workers.recipe import Resources
from workers.submission import Submission

CANCEL_CHUNK = 200


@dataclass
class SlurmBackend:
    """A Slurm cluster as `profile` describes it; without a profile only questions can be asked.

    `excluded` are nodes that jobs of the next submission keep away from.
    """

    profile: Profile | None = None
    name: str = "slurm"
    excluded: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    def settings(self) -> dict[str, Any]:
        """The profile, for the submission's record."""
        return self._known_profile.model_dump(mode="json")

    def slots(self, needs: Mapping[str, Any]) -> int:
        """How many bundles of a shape are worth making."""
        return self._known_profile.at_once(needs)

    def limit_seconds(self, needs: Mapping[str, Any]) -> float:
        """The time limit of a job of this shape."""
        return 3600.0 * self._known_profile.allocation(needs).hours

    def memory_limit_gb(self, needs: Mapping[str, Any]) -> float | None:
        """What the largest node that the profile lists for such work has."""
        return self._known_profile.memory_limit_gb(Resources.model_validate(needs))

    def start(self, workspace: Workspace, submission: Submission) -> int:
        """Hand the bundles to Slurm as far as its limits allow, then the tail; return how many were taken.

        What a limit leaves over waits for the tail job, and for `yates resume` where there is no tail.

        Raises:
            SlurmError: Slurm refuses the jobs for good, or does not answer; nothing was submitted then.
        """
        from cluster.slurm.sending import Sender  # submitit: only where jobs are submitted

        sender = Sender(workspace, submission, self._known_profile, self.excluded)
        try:
            taken = sender.send()
        except SlurmError:
            if not sender.jobs:
                submission.forget(workspace)
            raise
        finally:
            self.notes = sender.notes
        return taken

    def live(self, workspace: Workspace) -> list[str]:
        """The jobs of this workspace that run or wait, as `123_4`."""
        queue = self.queue
        return [one.id for record in read_records(workspace) for one in record.elements(queue) if one.alive]

    def lives(self, record: Mapping[str, Any]) -> bool | None:
        """Whether the supervisor of `supervisors/<name>.json` runs; None while Slurm cannot be asked."""
        known = ProcessIdentity.from_record(record).lives()
        if known is not None:
            return known
        try:
            elements = self.queue.elements
        except SlurmError:
            return None
        return any(
            one.id == record["job"] and one.state in STARTED and record.get("node") in ("", one.node)
            for one in elements
        )

    def covered(self, workspace: Workspace) -> set[str]:
        """The stages in bundles of jobs that run or wait: nobody else need be sent for them.

        Raises:
            Unreachable: the controller does not answer, so nothing is known.
        """
        stages: set[str] = set()
        for record in read_records(workspace):
            alive = [one for one in record.elements(self.queue) if one.alive]
            if alive and not record.is_tail:
                stages.update(_stages_of(workspace, record, alive))
        return stages

    def settle(self, workspace: Workspace) -> None:
        """End the attempts of dead jobs as the accounting says, and note the nodes that lost several."""
        index = Index(workspace)
        index.refresh()
        known = slurm_supervisors(workspace)
        perform(workspace, index, {record["name"]: self.lives(record) for record in known})
        self.excluded = bad_nodes(workspace, total_nodes(self.profile))

    def forgive(self, workspace: Workspace) -> None:
        """Forget which nodes lost jobs."""
        forgive_nodes(workspace)
        self.excluded = ()

    def cancel(self, workspace: Workspace, stages: set[str]) -> int:
        """Cancel the waiting jobs all of whose unfinished stages are among `stages`; return how many.

        Jobs that run see the tombstones: they stop what is cancelled and go on with what is not.
        """
        index = Index(workspace)
        index.refresh()
        doomed = []
        for record in read_records(workspace):
            for one in record.elements(self.queue):
                wanted = _stages_of(workspace, record, [one]) - index.done.keys()
                if one.state == "PENDING" and not record.is_tail and wanted <= stages:
                    doomed.append(one.id)
        for start in range(0, len(doomed), CANCEL_CHUNK):
            run(["scancel", *doomed[start : start + CANCEL_CHUNK]])
        return len(doomed)

    def stop(self, workspace: Workspace) -> int:
        """Cancel every job of this workspace, tails first: running ones save themselves and end."""
        tails = [record for record in read_records(workspace) if record.is_tail]
        others = [record for record in read_records(workspace) if not record.is_tail]
        jobs = [one.job for record in [*tails, *others] for one in record.elements(self.queue) if one.alive]
        for job in dict.fromkeys(jobs):
            run(["scancel", job])
        return len(jobs)

    @cached_property
    def queue(self) -> Queue:
        """The queue, asked once; `refresh` forgets it."""
        return Queue.read()

    def refresh(self) -> None:
        """Ask anew next time."""
        self.__dict__.pop("queue", None)

    @property
    def _known_profile(self) -> Profile:
        if self.profile is None:
            raise WorkspaceError("--on slurm needs a cluster's profile: --profile NAME or YATES_PROFILE")
        return self.profile


def _stages_of(workspace: Workspace, record: JobRecord, elements: Iterable[Element]) -> set[str]:
    """The stages in the bundles of some elements of an array."""
    try:
        submission = Submission.read(workspace, record.submission)
    except (FileNotFoundError, WorkspaceError):
        return set()
    bundles = [record.bundles[one.task] for one in elements if one.task < len(record.bundles)]
    return {
        submission.stages[number].stage for bundle in bundles for number in submission.bundles[bundle].stages
    }
