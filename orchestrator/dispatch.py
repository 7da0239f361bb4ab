"""Dispatch: unfinished stages become a submission, its bundles start on a backend."""

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.backend import Backend
from cluster.code import freeze_code
from orchestrator.bundles import BundledStage, make_bundles
from results.layout import Workspace
from workers.recipe import Execution
from workers.submission import Submission, SubmittedBundle, SubmittedStage

START_UP_SECONDS = 15.0


@dataclass(frozen=True)
class WorkItem:
    """One unfinished stage with everything a submission says of it. `parents` are stage ids."""

    stage: str
    kind: str
    parents: tuple[str, ...]
    shape: str
    affinity: str
    cost: float
    execution: Execution


@dataclass(frozen=True)
class Work:
    """Unfinished stages, parents first, and what their shapes need."""

    items: Sequence[WorkItem]
    shapes: dict[str, dict[str, Any]] = field(default_factory=dict)
    hub_map: dict[str, str] = field(default_factory=dict)
    plan: str = ""


def dispatch(workspace: Workspace, backend: Backend, work: Work) -> Submission | None:
    """Write a submission for `work` and start it; None when there is nothing to do."""
    if not work.items:
        return None
    submission = make_submission(backend, work, freeze_code(workspace))
    lift_tombstones(workspace, (item.stage for item in work.items))
    submission.write(workspace)
    backend.start(workspace, submission)
    return submission


def make_submission(backend: Backend, work: Work, code: str) -> Submission:
    """The submission of `work`: numbered stages, distinct executions, bundles."""
    number = {item.stage: index for index, item in enumerate(work.items)}
    executions = list(dict.fromkeys(item.execution for item in work.items))
    position = {execution: index for index, execution in enumerate(executions)}
    stages = [_submitted(item, number, position[item.execution]) for item in work.items]
    return Submission(
        id=time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(3),
        created=time.time(),
        backend=backend.name,
        plan=work.plan,
        code=code,
        stages=tuple(stages),
        executions=tuple(executions),
        bundles=tuple(_bundles(backend, work, stages, number)),
        shapes=work.shapes,
        hub_map=work.hub_map,
    )


def lift_tombstones(workspace: Workspace, stages: Iterable[str]) -> None:
    """Submitting again lifts a cancellation."""
    if workspace.tombstones.is_dir():
        for stage in stages:
            workspace.tombstone(stage).unlink(missing_ok=True)


def _submitted(item: WorkItem, number: dict[str, int], execution: int) -> SubmittedStage:
    parents = tuple(number[parent] for parent in item.parents if parent in number)
    return SubmittedStage(item.stage, item.kind, parents, item.shape, item.affinity, item.cost, execution)


def _bundles(
    backend: Backend, work: Work, stages: list[SubmittedStage], number: dict[str, int]
) -> Iterable[SubmittedBundle]:
    limit = min((3600.0 * shape.get("hours", 24.0) for shape in work.shapes.values()), default=86400.0)
    bundled = [
        BundledStage(
            stage.stage,
            stage.shape,
            stage.affinity,
            stage.cost,
            tuple(stages[p].stage for p in stage.parents),
        )
        for stage in stages
    ]
    for bundle in make_bundles(bundled, backend.slots(), limit, START_UP_SECONDS):
        yield SubmittedBundle(bundle.name, bundle.shape, tuple(number[stage] for stage in bundle.stages))
