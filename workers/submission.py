"""A submission: intent. Which stages went to which backend, in which bundles, under which job names.

It is written before a scheduler is called, so a driver that dies in between leaves a trace to find its jobs by.
"""

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from results.files import WorkspaceError, json_bytes, read_json, write_atomic
from results.layout import Workspace
from workers.processes import ProcessIdentity
from workers.recipe import Execution


@dataclass(frozen=True)
class SubmittedStage:
    """One stage as a supervisor sees it: `parents` and `execution` index into the submission's lists."""

    stage: str
    kind: str
    parents: tuple[int, ...]
    shape: str
    affinity: str
    cost: float
    execution: int


@dataclass(frozen=True)
class SubmittedBundle:
    """The stages (indices, in order) that one job runs one after another in one warm process."""

    name: str
    shape: str
    stages: tuple[int, ...]


@dataclass(frozen=True)
class Submission:
    """Stages handed to a backend.

    `stages` also holds the unfinished parents that others may be running, so that a supervisor can take over
    what nobody holds. `code` is the hash under `code/` that the jobs run; `shapes` says what each shape needs.
    `canary` names the experiments of a trial: when they are done, its tail submits the whole plan. `progress` is
    what the workspace had reached when this was made (see `orchestrator.tail`), `stalled` how many submissions in
    a row brought none. `search` is a dumped `cluster.search.Search` whose trials Ray Tune drives, or empty.
    """

    id: str
    created: float
    backend: str
    plan: str
    code: str
    stages: tuple[SubmittedStage, ...]
    executions: tuple[Execution, ...]
    bundles: tuple[SubmittedBundle, ...]
    shapes: dict[str, dict[str, Any]] = field(default_factory=dict)
    hub_map: dict[str, str] = field(default_factory=dict)
    profile: dict[str, Any] = field(default_factory=dict)
    study: str = ""
    canary: tuple[str, ...] = ()
    progress: tuple[int, int] = (0, 0)
    stalled: int = 0
    search: dict[str, Any] = field(default_factory=dict)

    def write(self, workspace: Workspace) -> None:
        """Write `submissions/<id>.json`."""
        content = asdict(self)
        content["executions"] = [execution.model_dump(mode="json") for execution in self.executions]
        write_atomic(workspace.submissions / f"{self.id}.json", json_bytes(content))

    def forget(self, workspace: Workspace) -> None:
        """Take the submission back: its backend took nothing of it."""
        (workspace.submissions / f"{self.id}.json").unlink(missing_ok=True)

    @classmethod
    def read(cls, workspace: Workspace, identity: str) -> "Submission":
        """Read a submission back.

        Raises:
            FileNotFoundError: there is no such submission.
            WorkspaceError: its file is damaged.
        """
        content = read_json(workspace.submissions / f"{identity}.json")
        content["stages"] = tuple(
            SubmittedStage(**{**stage, "parents": tuple(stage["parents"])}) for stage in content["stages"]
        )
        content["executions"] = tuple(Execution.model_validate(item) for item in content["executions"])
        content["bundles"] = tuple(
            SubmittedBundle(bundle["name"], bundle["shape"], tuple(bundle["stages"]))
            for bundle in content["bundles"]
        )
        content["progress"] = tuple(content.get("progress", (0, 0)))
        content["canary"] = tuple(content.get("canary", ()))
        return cls(**content)


def register_supervisor(
    workspace: Workspace,
    submission: Submission,
    bundle: int,
    name: str,
    identity: ProcessIdentity,
    job: str | None = None,
    node: str = "",
) -> None:
    """Note in `supervisors/<name>.json` that a supervisor has been started, and as which process."""
    record = {
        **identity.as_record(),
        "name": name,
        "submission": submission.id,
        "bundle": bundle,
        "backend": submission.backend,
        "job": job,
        "node": node,
        "started": time.time(),
    }
    write_atomic(workspace.supervisors / f"{name}.json", json_bytes(record))


def later_submissions(workspace: Workspace, own: Submission) -> list[Submission]:
    """The submissions to the same backend and of the same code that were made after `own`, oldest first."""
    names = sorted(path.stem for path in workspace.submissions.glob("*.json") if path.stem != own.id)
    found = [submission for name in names if (submission := _read_or_none(workspace, name)) is not None]
    later = [
        one
        for one in found
        if (one.backend, one.code) == (own.backend, own.code) and one.created > own.created
    ]
    return sorted(later, key=lambda one: one.created)


def _read_or_none(workspace: Workspace, name: str) -> Submission | None:
    """A submission, or None for one that is damaged or was written by a later version."""
    try:
        return Submission.read(workspace, name)
    except (WorkspaceError, OSError, ValueError, TypeError, KeyError):
        return None


def newest_submission(workspace: Workspace, backend: str | None = None) -> Submission | None:
    """The submission made last, to `backend` or to any; None where there is none."""
    for path in sorted(workspace.submissions.glob("*.json"), reverse=True):  # ids begin with the time
        found = _read_or_none(workspace, path.stem)
        if found is not None and backend in (None, found.backend):
            return found
    return None
