"""Which backend a verb talks to: the one named, else the one that the workspace was last submitted to."""

import os
from typing import Any

from cluster.backend import BACKENDS, Backend, find_backend
from orchestrator.profiles import load_profile
from results.files import WorkspaceError
from results.layout import Workspace
from workers.submission import Submission, newest_submission

ADDRESS_VARIABLE = "RAY_ADDRESS"


def choose_backend(
    workspace: Workspace,
    name: str | None,
    profile: str | None = None,
    address: str | None = None,
    fresh: bool = False,
) -> Backend:
    """The backend `name` with its settings: those named, else those last used here unless `fresh`, else the default.

    Raises:
        WorkspaceError: there is no such backend or profile, or an option belongs to another backend.
    """
    last = None if fresh else newest_submission(workspace, name)
    chosen = name or (last.backend if last is not None else "local")
    if address is not None and chosen != "ray":
        raise WorkspaceError(f"--address belongs to --on ray, not to --on {chosen}")
    return find_backend(chosen, _settings(chosen, last, profile, address), workspace)


def backend_of(submission: Submission, workspace: Workspace) -> Backend:
    """The backend that a submission went to, with the settings that it recorded."""
    return find_backend(submission.backend, submission.profile, workspace)


def used_backends(workspace: Workspace) -> list[Backend]:
    """The backends to which something of this workspace went, each with its last settings."""
    found = (newest_submission(workspace, name) for name in BACKENDS)
    return [backend_of(submission, workspace) for submission in found if submission is not None]


def _settings(name: str, last: Submission | None, profile: str | None, address: str | None) -> dict[str, Any]:
    recorded = {} if last is None else last.profile
    if name == "slurm":
        return recorded if profile is None and recorded else load_profile(profile).model_dump(mode="json")
    if name == "ray":
        named = address or recorded.get("address") or os.environ.get(ADDRESS_VARIABLE)
        return {"address": named} if named else {}
    return {}
