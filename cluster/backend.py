"""What every backend does: start the bundles of a submission, and tell which supervisors live."""

from typing import Protocol

from results.files import WorkspaceError
from results.layout import Workspace
from workers.kinds import load_object, unknown
from workers.submission import Submission

BACKENDS = {"local": "cluster.local:LocalBackend"}


class Backend(Protocol):
    """Where bundles run. Implementations keep no state of their own: the workspace holds it all."""

    name: str

    def slots(self) -> int:
        """How many bundles can run at once."""
        ...

    def start(self, workspace: Workspace, submission: Submission) -> int:
        """Start the bundles of `submission`; return how many were started. Never blocks on their work."""
        ...

    def live(self, workspace: Workspace) -> list[str]:
        """The names of the supervisors that live, as far as this machine can tell."""
        ...

    def stop(self, workspace: Workspace) -> int:
        """Ask the live supervisors to checkpoint and end; return how many were asked."""
        ...


def find_backend(name: str) -> Backend:
    """The backend called `name`.

    Raises:
        WorkspaceError: there is no such backend; the message lists those that there are.
    """
    if name not in BACKENDS:
        raise WorkspaceError(unknown("backend", name, BACKENDS))
    backend: Backend = load_object(BACKENDS[name])()
    return backend
