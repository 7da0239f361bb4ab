"""Cancelling: exactly the selected experiments' work; what another experiment needs goes on."""

from collections.abc import Iterable

from orchestrator.view import Experiment, View
from results.files import publish_once


def cancel(view: View, experiments: Iterable[Experiment]) -> list[str]:
    """Write a tombstone for every unfinished stage that only `experiments` need; return their ids.

    Workers look at tombstones before a stage and while it runs: a running stage checkpoints and stops.
    Submitting or resuming lifts them.
    """
    selected = {one.id for one in experiments}
    wanted = _needed(view, (one for one in view.experiments.values() if one.id in selected))
    others = _needed(
        view, (one for one in view.experiments.values() if one.id not in selected and _unfinished(view, one))
    )
    stages = sorted(stage for stage in wanted - others if stage not in view.index.done)
    for stage in stages:
        publish_once(view.workspace.tombstone(stage), b"")
    return stages


def _unfinished(view: View, experiment: Experiment) -> bool:
    """Whether the experiment still wants its stages: it has no result yet and was not cancelled before."""
    if view.survey.experiments[experiment.id] in ("done", "diverged"):
        return False
    own = [stage for stage in experiment.stages.values() if stage not in view.index.done]
    return not all(view.workspace.tombstone(stage).exists() for stage in own)


def _needed(view: View, experiments: Iterable[Experiment]) -> set[str]:
    """The stages of `experiments` and everything these stand on."""
    needed: set[str] = set()
    for experiment in experiments:
        pending = list(experiment.row.stages.values())
        while pending:
            row = experiment.plan.stages[pending.pop()]
            if row.stage not in needed:
                needed.add(row.stage)
                pending.extend(row.parents)
    return needed
