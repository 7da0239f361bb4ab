"""Verification: every marker, checksum and index of a workspace against the truth on disk."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from results.files import WorkspaceError, read_json, read_json_or_none
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
    truth = {}
    for directory in _stage_directories(workspace):
        report.stages += 1
        commit = _check_commit(workspace, directory, report, repair)
        if commit is not None:
            truth[commit["stage"]] = commit
        _check_checkpoints(directory, report, repair)
    _check_index(workspace, truth, report, repair)
    return report


def _stage_directories(workspace: Workspace) -> Iterator[Path]:
    yield from sorted(path for path in workspace.stages.glob("??/*") if path.is_dir())


def _check_commit(workspace: Workspace, directory: Path, report: Report, repair: bool) -> Commit | None:
    path = directory / "done.json"
    try:
        _read_stage(directory)
        commit: Commit | None = read_json_or_none(path)
    except WorkspaceError as error:
        _set_aside(Path(str(error).partition(":")[0]), str(error), report, repair)
        return None
    if commit is None:
        return None
    report.commits += 1
    output = workspace.output(commit["stage"], commit["attempt"])
    if digest_of(output) != commit["output_digest"]:
        _set_aside(path, f"{output}: the output is not what was committed", report, repair)
        return None
    return commit


def _read_stage(directory: Path) -> None:
    path = directory / "stage.json"
    if path.exists():
        read_json(path)


def _check_checkpoints(directory: Path, report: Report, repair: bool) -> None:
    for checkpoint in sorted(directory.glob("attempts/*/checkpoints/[0-9]*")):
        report.checkpoints += 1
        reason = verify_checkpoint(checkpoint)
        if reason is not None:
            _set_aside(checkpoint, f"{checkpoint}: {reason}", report, repair)


def _check_index(workspace: Workspace, truth: dict[str, Commit], report: Report, repair: bool) -> None:
    index = Index(workspace)
    index.refresh()
    journal = Journal(workspace, f"verify-{secrets.token_hex(4)}")
    for stage in sorted(truth.keys() - index.done.keys()):
        report.problems.append(f"stage {stage}: committed, but in no journal")
        if repair:
            journal.committed(stage, truth[stage]["attempt"])
            report.repaired.append(f"stage {stage}: journalled")
    for stage in sorted(index.done.keys() - truth.keys()):
        report.problems.append(f"stage {stage}: in a journal, but without a sound done.json")
        if repair:
            journal.forgotten(stage, index.done[stage])
            report.repaired.append(f"stage {stage}: struck from the index")


def _set_aside(path: Path, problem: str, report: Report, repair: bool) -> None:
    report.problems.append(problem)
    if repair and path.exists():
        aside = path.with_name(f"damaged-{path.name}-{secrets.token_hex(4)}")
        path.rename(aside)
        report.repaired.append(f"{path} set aside as {aside.name}")
