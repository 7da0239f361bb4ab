"""The tail of a submission: a small job that starts when the others have ended, and takes up what is left.

    python -m orchestrator.tail WORKSPACE SUBMISSION

It says how dead jobs ended, folds the store, and submits the rest with a tail of its own while there is progress.
So nothing stays running on the login node, and a grid comes home though its jobs time out, are preempted or die.
"""

import argparse
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from cluster.backend import Backend, LimitReached, Unreachable
from cluster.code import current_code
from orchestrator.backends import backend_of
from orchestrator.dispatch import Work, dispatch
from orchestrator.memory import raise_memory
from orchestrator.remainder import remaining_work, without_cancelled
from orchestrator.view import Experiment, View
from results.files import WorkspaceError
from results.journal import Index
from results.layout import Workspace
from results.store import compact_fully
from workers.submission import Submission

STALLED_SUBMISSIONS = 3
FINISHED = ("done", "diverged")
PAUSES = (5.0, 15.0, 60.0, 120.0, 300.0, 600.0, 900.0)


def main() -> None:
    """Look after one submission, once."""
    parser = argparse.ArgumentParser(prog="python -m orchestrator.tail")
    parser.add_argument("workspace", type=Path)
    parser.add_argument("submission")
    arguments = parser.parse_args()
    workspace = Workspace(arguments.workspace)
    sys.path.append("")
    sys.exit(look_after(workspace, Submission.read(workspace, arguments.submission)))


def look_after(workspace: Workspace, last: Submission) -> int:
    """Submit what `last` has left over; return 0 when all is done or on its way again, 1 when it is given up."""
    backend = backend_of(last, workspace)
    _settle(backend, workspace)
    view = View(workspace, current_code())
    try:
        return _continue(view, backend, last)
    finally:
        _compact(workspace)


def _continue(view: View, backend: Backend, last: Submission) -> int:
    """Decide what follows, and submit it."""
    trial = [view.survey.experiments.get(one, "pending") for one in last.canary]
    work = next_work(view, last, backend)
    if not work.items:
        print(f"nothing is left to do of {last.id}: {view.counts()}")
        if any(status not in FINISHED for status in trial):
            print("the trial experiments did not come through; see `yates status`")
            return 1
        return 0
    reached = progress(view.index)
    stalled = 0 if reached > last.progress else last.stalled + 1
    if stalled >= STALLED_SUBMISSIONS:
        print(
            f"{len(work.items)} stages are left; {stalled} submissions brought no progress; see `yates status`"
        )
        return 1
    return _send(view.workspace, backend, replace(work, progress=reached, stalled=stalled))


def _settle(backend: Backend, workspace: Workspace) -> None:
    """Write down how dead jobs ended, once the controller answers."""
    for pause in PAUSES:
        try:
            return backend.settle(workspace)
        except Unreachable as error:
            print(f"{error}; again in {pause:g} s", flush=True)
            time.sleep(pause)
            backend.refresh()
    return None


def _compact(workspace: Workspace) -> None:
    """Fold the store; a failure costs nothing, for it can be folded again at any time."""
    try:
        compact_fully(workspace)
    except (OSError, WorkspaceError) as error:
        print(f"the store was not folded: {error}")


def progress(index: Index) -> tuple[int, int]:
    """How far a workspace is: committed stages, and the steps that the others have reached, all together."""
    unfinished = (records for stage, records in index.endings.items() if stage not in index.done)
    return len(index.done), sum(max(one["step"] for one in records) for records in unfinished)


def next_work(view: View, last: Submission, backend: Backend) -> Work:
    """What is unfinished of the experiments that the submission was for; after a trial, of its whole plan.

    Nothing comes after a trial that has not come through.
    """
    members = list(_members(view, last))
    work = _remaining(view, members, last, backend)
    if not last.canary or work.items:
        return replace(work, canary=last.canary)
    if any(view.survey.experiments[one.id] not in FINISHED for one in members):
        return work
    plan = next((one.plan for one in members), None)
    return _remaining(view, [one for one in view.experiments.values() if one.plan is plan], last, backend)


def _remaining(view: View, members: Iterable[Experiment], last: Submission, backend: Backend) -> Work:
    work = without_cancelled(view.workspace, remaining_work(view, members, last.plan))
    return replace(raise_memory(view, work, backend), study=last.study)


def _members(view: View, last: Submission) -> Iterable[Experiment]:
    """The experiments of the trial, or else those that have a stage in the submission."""
    if last.canary:
        return (view.experiments[one] for one in last.canary if one in view.experiments)
    stages = {one.stage for one in last.stages}
    return (one for one in view.experiments.values() if not stages.isdisjoint(one.stages.values()))


def _send(workspace: Workspace, backend: Backend, work: Work) -> int:
    """Dispatch, waiting where a limit is reached or the controller does not answer."""
    for pause in (*PAUSES, None):
        try:
            submission = dispatch(workspace, backend, work)
            break
        except (LimitReached, Unreachable) as error:
            if pause is None:
                print(f"gave up submitting: {error}")
                return 1
            print(f"{error}; again in {pause:g} s", flush=True)
            time.sleep(pause)
            backend.refresh()
        except WorkspaceError as error:
            print(f"the rest cannot be submitted: {error}")
            return 1
    for note in backend.notes:
        print(note)
    print(f"submitted {submission.id}" if submission else "all that is left is in the queue")
    return 0


if __name__ == "__main__":
    main()
