"""Which backend a verb talks to: the one named, else the one that the workspace was last submitted to."""

from cluster.backend import BACKENDS, Backend, find_backend
from cluster.profile import Profile
from orchestrator.profiles import load_profile
from results.layout import Workspace
from workers.submission import Submission, newest_submission

WITH_PROFILE = ("slurm",)


def choose_backend(workspace: Workspace | None, name: str | None, profile: str | None = None) -> Backend:
    """The backend `name` with its profile: the one named, else the one last used here, else the default.

    Raises:
        WorkspaceError: there is no such backend or profile.
    """
    last = None if workspace is None else newest_submission(workspace, name)
    chosen = name or (last.backend if last is not None else "local")
    if chosen not in WITH_PROFILE:
        return find_backend(chosen)
    return find_backend(chosen, _profile(last, profile))


def backend_of(submission: Submission) -> Backend:
    """The backend that a submission went to, with the profile that it recorded."""
    recorded = Profile.model_validate(submission.profile) if submission.profile else None
    return find_backend(submission.backend, recorded)


def used_backends(workspace: Workspace) -> list[Backend]:
    """The backends to which something of this workspace went, each with its last profile."""
    found = (newest_submission(workspace, name) for name in BACKENDS)
    return [backend_of(submission) for submission in found if submission is not None]


def _profile(last: Submission | None, name: str | None) -> Profile:
    if name is None and last is not None and last.profile:
        return Profile.model_validate(last.profile)
    return load_profile(name)
