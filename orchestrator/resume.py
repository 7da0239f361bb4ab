"""Resuming: exactly the unfinished stages of the selected experiments, as they were last submitted."""

import secrets

from cluster.backend import find_backend
from orchestrator.dispatch import dispatch
from orchestrator.remainder import remaining_work
from orchestrator.view import Experiment, View
from results.journal import Journal
from workers.submission import Submission


def resume(
    view: View, experiments: list[Experiment], backend: str, release: bool = False
) -> Submission | None:
    """Submit what `experiments` still need; with `release` also what failed for good. None: nothing to do."""
    chosen = find_backend(backend)
    if release:
        release_failures(view)
    return dispatch(view.workspace, chosen, remaining_work(view, experiments))


def release_failures(view: View) -> int:
    """Forgive every failure so far, so that failed and held stages are tried again; return how many."""
    journal = Journal(view.workspace, f"release-{secrets.token_hex(4)}")
    stages = sorted(view.failed)
    for stage in stages:
        journal.released(stage, [record["token"] for record in view.index.standing(stage)])
    view.refresh()
    return len(stages)
