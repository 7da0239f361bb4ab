"""What is left to do for some experiments: their unfinished stages and those that these stand on."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cluster.search import Search
from orchestrator.dispatch import Work, WorkItem
from orchestrator.view import Experiment, View
from results.layout import Workspace
from results.records import PlanRecord, StageRow
from workers.recipe import Execution
from workers.submission import Submission


def remainder(
    view: View, experiments: Iterable[Experiment], executions: dict[str, Execution]
) -> list[WorkItem]:
    """The stages that `experiments` still need, parents first, each once.

    A stage that failed for good, diverged or was stopped by a search is left out, and so is what stands on it.
    """
    items: dict[str, WorkItem | None] = {}
    for experiment in experiments:
        for index in experiment.row.stages.values():
            _visit(view, experiment.plan, index, executions, items)
    return [item for item in items.values() if item is not None]


def _visit(
    view: View,
    plan: PlanRecord,
    index: int,
    executions: dict[str, Execution],
    items: dict[str, WorkItem | None],
) -> None:
    row = plan.stages[index]
    if row.stage in items or row.stage in view.index.done:
        return
    if view.survey.stages.get(row.stage) in ("failed", "blocked", "held", "stopped"):
        items[row.stage] = None
        return
    for parent in row.parents:
        _visit(view, plan, parent, executions, items)
    parents = [plan.stages[parent].stage for parent in row.parents]
    if any(parent in items and items[parent] is None for parent in parents):
        items[row.stage] = None
        return
    items[row.stage] = _item(plan, row, executions.get(row.stage, Execution()))


def _item(plan: PlanRecord, row: StageRow, execution: Execution) -> WorkItem:
    parents = tuple(plan.stages[parent].stage for parent in row.parents)
    return WorkItem(row.stage, row.kind, parents, row.shape, row.affinity, row.cost, execution)


def submitted_executions(workspace: Workspace) -> tuple[dict[str, Execution], dict[str, str]]:
    """The execution of every stage as last submitted, and the hub map of the last submission."""
    executions: dict[str, Execution] = {}
    hub_map: dict[str, str] = {}
    found = [Submission.read(workspace, path.stem) for path in workspace.submissions.glob("*.json")]
    for submission in sorted(found, key=lambda one: one.created):
        for stage in submission.stages:
            executions[stage.stage] = submission.executions[stage.execution]
        hub_map.update(submission.hub_map)
    return executions, hub_map


def shapes_of(view: View) -> dict[str, dict[str, object]]:
    """What every shape of the workspace's plans needs."""
    shapes: dict[str, dict[str, object]] = {}
    for plan in view.plans:
        shapes.update(plan.shapes)
    return shapes


def remaining_work(view: View, experiments: Iterable[Experiment], plan: str = "") -> Work:
    """`remainder` as it was last submitted, ready to dispatch."""
    executions, hub_map = submitted_executions(view.workspace)
    items = remainder(view, experiments, executions)
    return Work(items, shapes_of(view), hub_map, plan, search=searches(view.plans))


def searches(plans: Iterable[PlanRecord]) -> dict[str, Any]:
    """The searches of all plans as one: the newest one's settings, and every plan's trials."""
    found = [Search.model_validate(plan.search) for plan in plans if plan.search]
    if not found:
        return {}
    trials = {stage: group for one in found for stage, group in one.trials.items()}
    return found[-1].model_copy(update={"trials": trials}).model_dump(mode="json")


def without_cancelled(workspace: Workspace, work: Work) -> Work:
    """`work` without what was cancelled and what stands on it: only a person lifts a cancellation."""
    dropped: set[str] = set()
    for item in work.items:
        if workspace.tombstone(item.stage).exists() or not dropped.isdisjoint(item.parents):
            dropped.add(item.stage)
    return replace(work, items=[item for item in work.items if item.stage not in dropped])
