"""Dispatch: unfinished stages become a submission, its bundles start on a backend."""

import secrets
import time
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from cluster.backend import Backend
from cluster.code import freeze_code
from orchestrator.bundles import BundledStage, make_bundles
from results.layout import Workspace
from workers.recipe import Execution
from workers.submission import Submission, SubmittedBundle, SubmittedStage

START_UP_SECONDS = 15.0
ON_RAY_ALONE = "the grid has a search: only `--on ray` stops trials early; on"


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
    """Unfinished stages, parents first, and what their shapes need; the rest as `Submission` has it."""

    items: Sequence[WorkItem]
    shapes: dict[str, dict[str, Any]] = field(default_factory=dict)
    hub_map: dict[str, str] = field(default_factory=dict)
    plan: str = ""
    study: str = ""
    canary: tuple[str, ...] = ()
    progress: tuple[int, int] = (0, 0)
    stalled: int = 0
    search: dict[str, Any] = field(default_factory=dict)


def dispatch(workspace: Workspace, backend: Backend, work: Work) -> Submission | None:
    """Write a submission for `work` and start it; None when there is nothing to do.

    Stages that jobs in the backend's queue hold already are part of it, but in none of its bundles.

    Raises:
        WorkspaceError: the backend refuses, or cannot be asked; nothing was started then.
    """
    covered = backend.covered(workspace) if work.items else set()
    if all(item.stage in covered for item in work.items):
        return None
    submission = make_submission(backend, work, freeze_code(workspace), covered)
    lift_tombstones(workspace, (item.stage for item in work.items))
    submission.write(workspace)
    if work.search and backend.name != "ray":
        backend.notes.append(f"{ON_RAY_ALONE} {backend.name} every trial trains to its end")
    backend.start(workspace, submission)
    return submission


def make_submission(backend: Backend, work: Work, code: str, covered: Set[str] = frozenset()) -> Submission:
    """The submission of `work`: numbered stages, distinct executions, bundles of what is not `covered`."""
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
        bundles=tuple(
            _bundles(backend, work, [one for one in stages if one.stage not in covered], stages, number)
        ),
        shapes=work.shapes,
        hub_map=work.hub_map,
        profile=backend.settings(),
        study=work.study,
        canary=work.canary,
        progress=work.progress,
        stalled=work.stalled,
        search=work.search,
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
    backend: Backend,
    work: Work,
    chosen: list[SubmittedStage],
    stages: list[SubmittedStage],
    number: dict[str, int],
) -> Iterable[SubmittedBundle]:
    shapes = {stage.shape: work.shapes.get(stage.shape, {}) for stage in chosen}
    bundled = [
        BundledStage(
            stage.stage,
            stage.shape,
            stage.affinity,
            stage.cost,
            tuple(stages[parent].stage for parent in stage.parents),
        )
        for stage in chosen
    ]
    slots = {shape: backend.slots(needs) for shape, needs in shapes.items()}
    limits = {shape: backend.limit_seconds(needs) for shape, needs in shapes.items()}
    for bundle in make_bundles(bundled, slots, limits, START_UP_SECONDS):
        yield SubmittedBundle(bundle.name, bundle.shape, tuple(number[stage] for stage in bundle.stages))
