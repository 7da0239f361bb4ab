"""Downloads what a plan needs from the hub, at its revision and only the files that matter.

The one place of Yates that asks the network for models and data; `yates data check --fetch` runs it on a node that
has one. Every refusal becomes one message for the person; a token is read by huggingface_hub from the environment
and shown nowhere.
"""

from pathlib import Path

from orchestrator.data.needs import Need
from results.files import WorkspaceError
from workers.models.sources import MODEL_LEFT_OUT


class FetchError(WorkspaceError):
    """A model or data set that could not be brought. The message is for the person."""


def fetch(need: Need) -> Path:
    """Download what is missing of a need into the hub's cache; its directory there.

    Raises:
        FetchError: it is gated, private or absent, has no such revision, or the network or disk fails.
    """
    from huggingface_hub import snapshot_download

    identity = need.identity
    try:
        return Path(
            snapshot_download(
                identity.hub,
                repo_type=identity.repository,
                revision=identity.revision,
                allow_patterns=need.patterns or None,
                ignore_patterns=list(MODEL_LEFT_OUT) if identity.repository == "model" else None,
            )
        )
    except Exception as error:
        reason = _reason(need, error)
        if reason is None:
            raise
        raise FetchError(reason) from None


def _reason(need: Need, error: BaseException) -> str | None:
    """What to tell the person; None for an error that is none of the hub's or the machine's."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        return _reason(need, error.__cause__)  # the hub's client first looked whether the cache will do
    page = (
        f"https://huggingface.co/{'datasets/' * (need.identity.repository == 'dataset')}{need.identity.hub}"
    )
    match error:
        case errors.GatedRepoError():
            return (
                f"is gated. Accept its terms at {page}, then set HF_TOKEN to a token of that account (or run "
                "`hf auth login`) and fetch again"
            )
        case errors.RepositoryNotFoundError():
            return (
                "there is no such repository, or it is private: correct the id, or set HF_TOKEN to a token that "
                "may read it"
            )
        case errors.RevisionNotFoundError():
            return (
                f"has no revision {need.identity.revision!r}; see {page}/commits/main for those that it has"
            )
        case errors.HFValidationError():
            return "is neither a hub id (owner/name) nor a path on this machine"
        case errors.OfflineModeIsEnabled():
            return "HF_HUB_OFFLINE forbids downloads here; unset it, or fetch on a node with a network"
        case errors.HfHubHTTPError() if error.response is not None:
            return f"the hub answered {error.response.status_code}; try again later"
    return _trouble(error)


def _trouble(error: BaseException) -> str | None:
    """The network's or the disk's refusal. The hub's client speaks through httpx, of either major version."""
    if type(error).__module__.startswith(("httpx", "httpcore", "requests")):
        return (
            "the hub cannot be reached from this node; fetch where there is a network, or map the id to a local "
            "path with --hub-map"
        )
    return f"cannot be stored: {error.strerror or error}" if isinstance(error, OSError) else None
