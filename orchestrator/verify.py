"""Verification: every marker, checksum and index of a workspace against the truth on disk."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from results.files import WorkspaceError, read_json_or_none
from results.journal import Index, Journal
from results.layout import Workspace
from results.records import Commit
from workers.checkpoints import verify_checkpoint
from workers.outputs import digest_of


@dataclass
class Report:
    """What was looked at, and what was found wrong (one line each) and mended."""

    stages: int = 0
    commits: int = 0
    checkpoints: int = 0
    problems: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)


def verify(workspace: Workspace, repair: bool = False) -> Report:
    """Check every commit and its output, every checkpoint, and the journals.

    With `repair` what is damaged is set aside under a name that starts with `damaged-`, so that `yates resume`
    computes it again, and the journals are brought in line with `done.json`, which is the truth.
    """
    report = Report()
    index = Index(workspace)
    index.refresh()  # before the walk: what is committed meanwhile is then no contradiction
    truth = {}
    for directory in _stage_directories(workspace):
        report.stages += 1
        commit = _check_commit(workspace, directory, report, repair)
        if commit is not None:
            truth[commit["stage"]] = commit
        _check_checkpoints(directory, report, repair)
    _check_index(workspace, index, truth, report, repair)
    for path in (*workspace.plans.glob("*.json"), *workspace.submissions.glob("*.json")):
        _check_json(path, report, repair)
    return report


def _stage_directories(workspace: Workspace) -> Iterator[Path]:
    yield from sorted(path for path in workspace.stages.glob("??/*") if path.is_dir())


def _check_commit(workspace: Workspace, directory: Path, report: Report, repair: bool) -> Commit | None:
    path = directory / "done.json"
    for beside in (directory / "stage.json", *directory.glob("attempts/*/attempt.json")):
        _check_json(beside, report, repair)
    if not _check_json(path, report, repair):
        return None
    commit: Commit | None = read_json_or_none(path)
    if commit is None:
        return None
    report.commits += 1
    output = workspace.output(commit["stage"], commit["attempt"])
    if digest_of(output) != commit["output_digest"]:
        _set_aside(path, f"{output}: the output is not what was committed", report, repair)
        return None
    return commit


def _check_json(path: Path, report: Report, repair: bool) -> bool:
    """Whether `path` is absent or sound; a damaged file is reported, and set aside when repairing."""
    try:
        read_json_or_none(path)
    except WorkspaceError as error:
        _set_aside(path, str(error), report, repair)
        return False
    return True


def _check_checkpoints(directory: Path, report: Report, repair: bool) -> None:
    for checkpoint in sorted(directory.glob("attempts/*/checkpoints/[0-9]*")):
        report.checkpoints += 1
        reason = verify_checkpoint(checkpoint)
        if reason is not None and checkpoint.exists():  # a live worker may have pruned it
            _set_aside(checkpoint, f"{checkpoint}: {reason}", report, repair)


def _check_index(
    workspace: Workspace, index: Index, truth: dict[str, Commit], report: Report, repair: bool
) -> None:
    journal = Journal(workspace, f"verify-{secrets.token_hex(4)}")
    for stage in sorted(truth.keys() - index.done.keys()):
        report.problems.append(f"stage {stage}: committed, but in no journal")
        if repair:
            journal.committed(stage, truth[stage]["attempt"], truth[stage]["outcome"])
            report.repaired.append(f"stage {stage}: journalled")
    for stage in sorted(index.done.keys() - truth.keys()):
        if workspace.done_file(stage).exists():
            continue
        report.problems.append(f"stage {stage}: in a journal, but without a sound done.json")
        if repair:
            journal.forgotten(stage, index.done[stage])
            report.repaired.append(f"stage {stage}: struck from the index")


def _set_aside(path: Path, problem: str, report: Report, repair: bool) -> None:
    report.problems.append(problem)
    if repair:
        aside = path.with_name(f"damaged-{path.name}-{secrets.token_hex(4)}")
        try:
            path.rename(aside)
        except FileNotFoundError:
            return
        report.repaired.append(f"{path} set aside as {aside.name}")
