"""Resuming: exactly the unfinished stages of the selected experiments, as they were last submitted."""

import secrets
from dataclasses import replace

from cluster.backend import Backend
from orchestrator.dispatch import dispatch
from orchestrator.memory import raise_memory
from orchestrator.remainder import remaining_work
from orchestrator.view import Experiment, View
from results.journal import Journal
from workers.submission import Submission


def resume(
    view: View, experiments: list[Experiment], backend: Backend, release: bool = False
) -> Submission | None:
    """Submit what `experiments` still need; with `release` also what failed for good or a search stopped.

    None: nothing is to be done, or jobs in the backend's queue hold all of it.
    """
    backend.settle(view.workspace)
    view.refresh()
    if release:
        release_failures(view, backend)
    work = raise_memory(view, remaining_work(view, experiments), backend)
    study = next((one.plan.study for one in experiments), "")
    return dispatch(view.workspace, backend, replace(work, study=study))


def release_failures(view: View, backend: Backend) -> int:
    """Forgive every failure so far, of stages and of nodes, so that they are tried again; return how many stages."""
    journal = Journal(view.workspace, f"release-{secrets.token_hex(4)}")
    stages = sorted(view.failed | view.stopped)
    for stage in stages:
        journal.released(stage, [record["token"] for record in view.index.standing(stage)])
    backend.forgive(view.workspace)
    view.refresh()
    return len(stages)
