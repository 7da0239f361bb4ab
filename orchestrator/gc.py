"""Garbage: what no plan of a workspace needs any more, found first and removed only when told to."""

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.view import View
from results.files import WorkspaceError, read_json_or_none
from results.journal import Journal
from results.plans import read_plans
from workers.processes import ProcessIdentity

DEAD_AFTER_SECONDS = 86400.0


@dataclass(frozen=True)
class Garbage:
    """A directory that can go, why, and its size in bytes."""

    path: Path
    reason: str
    size: int
    stage: str | None = None


def find_garbage(view: View) -> list[Garbage]:
    """Stages in no plan, attempts that did not win, and recovery checkpoints of finished stages.

    Nothing that a live attempt writes to is listed.
    """
    planned = {row.stage for plan in view.plans for row in plan.stages}
    found: list[Garbage] = []
    for directory in sorted(view.workspace.stages.glob("??/*")):
        stage = directory.name
        live = view.live_attempts(stage)
        if stage not in planned and not live:
            found.append(Garbage(directory, "no plan needs this stage", _size(directory), stage))
        elif stage in planned and stage in view.index.done:
            found.extend(_spent(directory))
    return found


def remove(view: View, garbage: list[Garbage]) -> None:
    """Remove what `find_garbage` found, unless a plan has come to need it since.

    The commit goes first, then the index, then the files: killed in between, nothing counts as done that is not there.
    """
    journal = Journal(view.workspace, f"garbage-collection-{secrets.token_hex(4)}")
    planned = {row.stage for plan in read_plans(view.workspace) for row in plan.stages}
    for item in garbage:
        if item.stage in planned:
            continue
        if item.stage is not None and item.stage in view.index.done:
            view.workspace.done_file(item.stage).unlink(missing_ok=True)
            journal.forgotten(item.stage, view.index.done[item.stage])
        shutil.rmtree(item.path, ignore_errors=True)


def _spent(directory: Path) -> Iterator[Garbage]:
    """What a finished stage no longer needs."""
    commit: dict[str, Any] | None = read_json_or_none(directory / "done.json")
    if commit is None:
        return
    for attempt in sorted((directory / "attempts").glob("*")):
        if attempt.name == commit["attempt"]:
            if (attempt / "checkpoints").is_dir():
                yield Garbage(
                    attempt / "checkpoints", "the stage is finished", _size(attempt / "checkpoints")
                )
        elif not _may_write(attempt):
            yield Garbage(attempt, "another attempt was committed", _size(attempt))


def _may_write(attempt: Path) -> bool:
    """Whether a process may still write to an attempt: it has not ended, and is not known to be gone.

    A process of another machine that has not moved its heartbeat for a day is taken for gone.
    """
    try:
        record = read_json_or_none(attempt / "attempt.json")
    except WorkspaceError:
        return False
    if record is None or record["ending"] is not None:
        return False
    lives = ProcessIdentity.from_record(record).lives()
    if lives is not None:
        return lives
    with suppress(OSError):
        return time.time() - (attempt / "heartbeat").stat().st_mtime < DEAD_AFTER_SECONDS
    return False


def _size(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total
