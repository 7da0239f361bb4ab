"""A submission: intent. Which stages went to which backend, in which bundles, under which job names.

It is written before a scheduler is called, so a driver that dies in between leaves a trace to find its jobs by.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from results.files import json_bytes, read_json, write_atomic
from results.layout import Workspace
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

    def write(self, workspace: Workspace) -> None:
        """Write `submissions/<id>.json`."""
        content = asdict(self)
        content["executions"] = [execution.model_dump(mode="json") for execution in self.executions]
        write_atomic(workspace.submissions / f"{self.id}.json", json_bytes(content))

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
        return cls(**content)


def later_submissions(workspace: Workspace, own: Submission) -> list[Submission]:
    """The submissions to the same backend and of the same code that were made after `own`, oldest first."""
    names = sorted(path.stem for path in workspace.submissions.glob("*.json") if path.stem != own.id)
    found = [Submission.read(workspace, name) for name in names]
    later = [
        one
        for one in found
        if (one.backend, one.code) == (own.backend, own.code) and one.created > own.created
    ]
    return sorted(later, key=lambda one: one.created)
