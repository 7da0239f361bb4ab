"""Submitting a plan: its record and stages are written, what is unfinished goes to a backend."""

from collections.abc import Sequence

from cluster.backend import Backend
from cluster.code import current_code
from orchestrator.dispatch import Work, dispatch
from orchestrator.plan import Plan
from orchestrator.remainder import remainder, searches
from orchestrator.view import Experiment, View
from results.files import WorkspaceError
from results.journal import Index
from results.layout import Workspace
from results.plans import write_plan
from workers.submission import Submission


def submit_plan(
    workspace: Workspace,
    plan: Plan,
    backend: Backend,
    hub_map: dict[str, str] | None = None,
    canary: bool = False,
) -> Submission | None:
    """Write the plan, then submit its unfinished stages; None when all is done or on its way.

    With `canary` only one experiment of each kind goes first; the tail of that trial submits the others.

    Stages that another grid or an earlier submission already finished are not touched.

    Raises:
        WorkspaceError: the workspace cannot be written; nothing was submitted then.
    """
    try:
        _write_stages(workspace, plan)
        digest = write_plan(workspace, plan.record())
        view = View(workspace, current_code())
        executions = {stage.id: stage.execution for stage in plan.stages}
        ids = {one.id for one in plan.experiments}
        chosen = [one for one in view.experiments.values() if one.id in ids]
        trial = canaries(chosen) if canary else []
        items = remainder(view, trial, executions)
        if not items:  # there is to be no trial, or it came through before
            trial, items = [], remainder(view, chosen, executions)
        names = tuple(one.id for one in trial)
        record = plan.record()
        search = searches([record])
        work = Work(items, plan.shapes, hub_map or {}, digest, record.study, names, search=search)
        return dispatch(workspace, backend, work)
    except OSError as error:
        raise WorkspaceError(
            f"{workspace.root}: the workspace cannot be written ({error.strerror})"
        ) from None


def canaries(experiments: Sequence[Experiment]) -> list[Experiment]:
    """The first experiment of each kind: those with the same kinds of stages on the same shapes are alike."""
    kinds: dict[tuple[tuple[str, str], ...], Experiment] = {}
    for one in experiments:
        stages = [one.plan.stages[index] for index in one.row.stages.values()]
        kinds.setdefault(tuple(sorted({(stage.kind, stage.shape) for stage in stages})), one)
    return list(kinds.values())


def _write_stages(workspace: Workspace, plan: Plan) -> None:
    """Write `stage.json` of what is not yet committed, before the plan that names it."""
    index = Index(workspace)
    index.refresh()
    for number, planned in enumerate(plan.stages):
        if planned.id not in index.done:
            plan.stage(number).write(workspace)
