"""What every backend does: start the bundles of a submission, and tell which supervisors live."""

from collections.abc import Mapping
from typing import Any, Protocol

from results.files import WorkspaceError
from results.layout import Workspace
from workers.kinds import load_object, unknown
from workers.submission import Submission

BACKENDS = {
    "local": "cluster.local:LocalBackend",
    "slurm": "cluster.slurm.backend:SlurmBackend",
    "ray": "cluster.ray.backend:RayBackend",
}


class Unreachable(WorkspaceError):
    """The cluster does not answer now; nothing follows about any job."""


class LimitReached(WorkspaceError):
    """A limit on submitted jobs is reached; fewer jobs, or later, would do."""


class Backend(Protocol):
    """Where bundles run. Implementations keep no state of their own: the workspace holds it all."""

    name: str
    excluded: tuple[str, ...]
    notes: list[str]

    def settings(self) -> dict[str, Any]:
        """What a submission records of the backend's settings, so that `resume` needs no file."""
        ...

    def slots(self, needs: Mapping[str, Any]) -> int:
        """How many bundles of the shape `needs` (a dumped `Resources`) can run at once."""
        ...

    def limit_seconds(self, needs: Mapping[str, Any]) -> float:
        """How long a bundle of this shape may run."""
        ...

    def memory_limit_gb(self, needs: Mapping[str, Any]) -> float | None:
        """The most memory that a job of this shape could be given; None where that is not known."""
        ...

    def start(self, workspace: Workspace, submission: Submission) -> int:
        """Start the bundles of `submission`; return how many were started. Never blocks on their work."""
        ...

    def live(self, workspace: Workspace) -> list[str]:
        """The names of the supervisors (or jobs) that live, as far as this machine can tell."""
        ...

    def lives(self, record: Mapping[str, Any]) -> bool | None:
        """Whether the supervisor with this record lives; None where that cannot be known now."""
        ...

    def covered(self, workspace: Workspace) -> set[str]:
        """The stages that jobs in its queue hold, so that nobody else need be sent for them."""
        ...

    def settle(self, workspace: Workspace) -> None:
        """Write down how what died ended, and learn what the next submission should keep away from."""
        ...

    def forgive(self, workspace: Workspace) -> None:
        """Forget what the next submission would keep away from."""
        ...

    def cancel(self, workspace: Workspace, stages: set[str]) -> int:
        """Take back what waits and would only run `stages`; return how many jobs that were."""
        ...

    def stop(self, workspace: Workspace) -> int:
        """Ask the live supervisors to checkpoint and end; return how many were asked."""
        ...

    def refresh(self) -> None:
        """Forget what was asked before; the next question looks anew."""
        ...


def find_backend(
    name: str, settings: Mapping[str, Any] | None = None, workspace: Workspace | None = None
) -> Backend:
    """The backend called `name`; `settings` are what it recorded with a submission to `workspace`.

    Raises:
        WorkspaceError: there is no such backend; the message lists those that there are.
    """
    if name not in BACKENDS:
        raise WorkspaceError(unknown("backend", name, BACKENDS))
    backend: Backend = load_object(BACKENDS[name]).of(settings or {}, workspace)
    return backend
