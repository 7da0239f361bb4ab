"""The winners of a search: in each group of trials the one with the best figure, and what another grid takes of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cluster.search import Search
from orchestrator.view import Experiment, View
from results.files import WorkspaceError
from workers.attempts import read_commit


@dataclass(frozen=True)
class Winner:
    """The best trial of one group. `shared` are the levels that all its trials share, `parameters` those searched.

    `trials` counts the group's trials, `done` those that came to their end: only these can win.
    """

    experiment: Experiment
    shared: dict[str, Any]
    parameters: dict[str, Any]
    metric: str
    value: float
    stderr: float | None
    trials: int
    done: int
    overrides: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        names = ("shared", "parameters", "metric", "value", "stderr", "trials", "done", "overrides")
        own = {"experiment": self.experiment.id, "name": self.experiment.row.name}
        return own | {name: getattr(self, name) for name in names}


def winners(view: View) -> list[Winner]:
    """The winner of every group that has a trial with a figure, in the plan's order.

    Raises:
        WorkspaceError: no grid of this workspace has a search.
    """
    searched = [plan for plan in view.plans if plan.search]
    if not searched:
        raise WorkspaceError(f"{view.workspace.root}: no grid of this workspace has a `search:`")
    groups: dict[str, list[tuple[Search, Experiment, str]]] = {}
    for plan in searched:
        search = Search.model_validate(plan.search)
        for one in view.experiments.values():
            if one.plan is plan:
                for stage in one.stages.values():
                    if stage in search.trials:
                        groups.setdefault(search.trials[stage], []).append((search, one, stage))
    return [found for members in groups.values() for found in _winner(view, members)]


def _winner(view: View, members: list[tuple[Search, Experiment, str]]) -> Iterator[Winner]:
    search = members[0][0]
    settings = search.settings
    figures = [(row, one) for _, one, stage in members for row in _figures(view, stage, settings.metric)]
    if not figures:
        return
    sign = 1.0 if settings.mode == "min" else -1.0
    row, best = min(figures, key=lambda item: sign * item[0]["value"])
    parameters = {
        name: best.factors[name] for name in search.parameters if best.factors.get(name) is not None
    }
    shared = {
        name: level
        for name, level in best.factors.items()
        if name not in search.parameters and level is not None and name in best.plan.factors
    }
    overrides = tuple(
        f"{key.format(**best.factors)}={parameters[name]}"
        for name, key in settings.feeds.items()
        if name in parameters
    )
    yield Winner(
        best,
        shared,
        parameters,
        settings.metric,
        row["value"],
        row["stderr"],
        len(members),
        len(figures),
        overrides,
    )


def _figures(view: View, stage: str, metric: str) -> list[Any]:
    commit = read_commit(view.workspace, stage)
    rows = [] if commit is None or commit["outcome"] != "done" else commit["metrics"]
    return [row for row in rows if row["metric"] == metric and row["value"] is not None]
