"""The `slurm` backend: a submission's bundles as job arrays, and a tail job that looks after them.

It keeps no state: job records in the workspace, squeue and sacct hold it all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster.profile import Profile
from cluster.slurm.autopsy import bad_nodes, forgive_nodes, perform, slurm_supervisors
from cluster.slurm.commands import SlurmError, Unreachable, run
from cluster.slurm.queue import STARTED, Queue
from cluster.slurm.records import bundle_stages, read_records, release_stuck
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
    _queue: Queue | Unreachable | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any], workspace: Workspace | None) -> "SlurmBackend":
        """The backend with the profile that a submission recorded."""
        return cls(Profile.model_validate(settings) if settings else None)

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
            alive = [one for one in record.elements(self.queue) if one.alive and not one.stuck]
            if alive and not record.is_tail:
                stages.update(*bundle_stages(workspace, record, alive).values())
        return stages

    def settle(self, workspace: Workspace) -> None:
        """End the attempts of dead jobs as the accounting says, and note the nodes that lost several.

        Raises:
            Unreachable: the controller does not answer, so nothing is known of any job.
        """
        release_stuck(workspace, self.queue)
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
            waiting = [one for one in record.elements(self.queue) if one.state == "PENDING"]
            if waiting and not record.is_tail:
                bundles = bundle_stages(workspace, record, waiting)
                doomed += [one.id for one, held in bundles.items() if held - index.done.keys() <= stages]
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

    @property
    def queue(self) -> Queue:
        """The queue, asked once, also when it does not answer; `refresh` forgets it.

        Raises:
            Unreachable: the controller does not answer.
        """
        if self._queue is None:
            try:
                self._queue = Queue.read()
            except Unreachable as error:
                self._queue = error
        if isinstance(self._queue, Unreachable):
            raise self._queue
        return self._queue

    def refresh(self) -> None:
        """Ask anew next time."""
        self._queue = None

    @property
    def _known_profile(self) -> Profile:
        if self.profile is None:
            raise WorkspaceError("--on slurm needs a cluster's profile: --profile NAME or YATES_PROFILE")
        return self.profile
