"""Making a report: the workspaces are read one after another, then the page is written in one step."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from results.files import WorkspaceError, write_atomic
from results.frames import ask
from results.layout import Workspace
from results.report.details import Details, details_of
from results.report.grouping import Group
from results.report.library import plotting_library
from results.report.page import MEGABYTE, Reading, Report, page
from results.report.source import Source
from results.report.studies import parts_of
from results.snapshot import Snapshot

LIMIT = 20.0
"""Megabytes that a report may have by default."""

FIXED = 1_200_000
"""Bytes left for the plotting library, the scripts and the tables."""

Tell = Callable[[str], None]


def write_report(
    workspaces: Sequence[Workspace],
    output: Path,
    limit: float = LIMIT,
    samples: bool = True,
    tell: Tell = lambda text: None,
    library: Callable[[], str] = plotting_library,
) -> int:
    """Write the report on `workspaces` to `output`; return its size in bytes.

    Details of experiments are left out, and the page says so, where it would grow above `limit` megabytes. `tell`
    hears what is done now.

    Raises:
        WorkspaceError: a workspace is missing or holds no experiment, or `output` cannot be written.
    """
    report, named = Report(), list(zip(workspaces, _names(workspaces), strict=True))
    places: list[tuple[Workspace, Group]] = []
    for workspace, name in named:
        tell(f"reading {name}")
        reading = ask(workspace, partial(_read, name))
        if not reading.groups:
            raise WorkspaceError(f"{workspace.root}: holds no experiments yet; `yates run GRID` makes some")
        report.add(reading)
        places += [(workspace, group) for group in reading.groups]
        tell(f"making the studies' tables and figures again from {name}")
        report.parts += parts_of(Source(name, reading.groups[0].source.snapshot))
    tell("packing curves and samples")
    _add_details(report, places, int(limit * MEGABYTE) - FIXED, samples)
    tell("writing the page")
    content = page(report, library(), int(limit * MEGABYTE)).encode()
    try:
        write_atomic(output.absolute(), content)
    except OSError as error:
        raise WorkspaceError(f"{output}: cannot be written ({error.strerror})") from None
    return len(content)


def _read(name: str, snapshot: Snapshot) -> Reading:
    return Reading.of(Source(name, snapshot))


def _add_details(report: Report, places: list[tuple[Workspace, Group]], limit: int, samples: bool) -> None:
    """Give every group room by the number of its experiments; what one does not need is left to the next."""
    experiments = sum(group.experiments.num_rows for _, group in places)
    for place, (workspace, group) in enumerate(places):
        room = (limit - report.size) * group.experiments.num_rows // max(experiments, 1)
        experiments -= group.experiments.num_rows
        details = ask(workspace, partial(_details, group, room, samples))
        report.add_details(place, details)


def _details(group: Group, room: int, samples: bool, snapshot: Snapshot) -> Details:
    return details_of(group, Source(group.source.name, snapshot), room, samples)


def _names(workspaces: Sequence[Workspace]) -> list[str]:
    """What the reader sees: the folders' names, or whole paths where two are alike."""
    names = [workspace.root.name or str(workspace.root) for workspace in workspaces]
    return [str(one.root) for one in workspaces] if len(set(names)) < len(names) else names
