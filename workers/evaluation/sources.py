"""Where a benchmark's rows lie, and reading them."""

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.contents import check_content
from workers.context import BadInput, StageContext
from workers.data.rows import read_rows
from workers.models.sources import hub_directory
from workers.specs.data import DataSource
from workers.world import world_directory

Row = dict[str, Any]


@dataclass(frozen=True)
class Location:
    """Where rows lie: a local directory, or a data set of the hub. `name` is for messages."""

    name: str
    directory: Path | None
    source: DataSource

    def key(self) -> str:
        """What decides the rows: the source as resolved, and a local directory's file sizes and times."""
        parts = [self.source.model_dump_json(exclude_defaults=True)]
        if self.directory is not None and self.source.world is None:
            named = [self.directory / name for name in self.source.files] or sorted(self.directory.rglob("*"))
            parts.extend(_signature(path) for path in named if path.is_file())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def file(self, *names: str) -> Path:
        """The first of the named files that exists.

        Raises:
            BadInput: there is none.
        """
        found = self.find(*names)
        if found is None:
            raise BadInput(
                f"{self.name}: none of {', '.join(names)} in {self.directory or 'a local directory'}"
            )
        return found

    def find(self, *names: str) -> Path | None:
        """The first of the named files that exists, or None."""
        directory = self.directory
        if directory is None:
            return None
        return next((directory / name for name in names if (directory / name).is_file()), None)


def locate(source: DataSource, context: StageContext) -> Location:
    """Where the rows of `source` are: its world in the cache, a local directory (or file), or the hub.

    Raises:
        BadInput: the source names nothing, or is mapped to something that does not exist.
    """
    if source.world is not None:
        return Location("the embedded world", world_directory(context.workspace.cache, source.world), source)
    if source.hub is None:
        raise BadInput("a benchmark's source needs `world` or `hub`")
    try:
        path = hub_directory(context.hub_map, source.hub, source.revision, "dataset")
    except BadInput:
        if source.hub in context.hub_map:
            raise
        return Location(source.hub, None, source)
    check_content(source, path)
    if path.is_file():
        return Location(source.hub, path.parent, source.model_copy(update={"files": (path.name,)}))
    return Location(source.hub, path, source)


def csv_rows(path: Path) -> list[list[str]]:
    """The rows of a CSV file without a header."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def hub_rows(location: Location, configuration: str, split: str) -> list[Row]:
    """A split of a data set of the hub: the Parquet files of a mirror, else through `datasets`. No network is asked.

    Raises:
        BadInput: it is not on this machine, or has no such split; the message says how to bring it.
    """
    mirror = location.directory
    if mirror is None:
        raise BadInput(
            f"data set {location.name!r} is not on this machine; download it where there is a network "
            "(`yates data check GRID --fetch`), or map the hub id to a local directory"
        )
    patterns = (f"{configuration}/{split}-*.parquet", f"data/{split}-*.parquet")
    files = [path for pattern in patterns for path in sorted(mirror.glob(pattern))]
    if files:
        return [row for path in files for row in read_rows(path)]
    return _from_datasets(mirror, location.name, configuration, split)


def _from_datasets(mirror: Path, name: str, configuration: str, split: str) -> list[Row]:
    import datasets  # slow to import, and only this path needs it

    try:
        return list(datasets.load_dataset(str(mirror), configuration, split=split))
    except Exception as error:
        raise BadInput(
            f"{name}: {mirror} holds no {split} split of {configuration} that can be read "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
        ) from error


def spread(rows: list[Any], limit: int | None) -> list[Any]:
    """At most `limit` rows, evenly spaced over the file, so that every part of it is represented."""
    if limit is None or limit >= len(rows):
        return rows
    return [rows[place * len(rows) // limit] for place in range(limit)]


def required(rows: Iterable[Row], fields: dict[str, type | tuple[type, ...]], name: str) -> list[Row]:
    """The rows, if each has the named fields with values of the given types.

    Raises:
        BadInput: the first row that has not; the message gives its number and the field, never its text.
    """
    checked = list(rows)
    for number, row in enumerate(checked, start=1):
        for field, types in fields.items():
            if not isinstance(row.get(field), types):
                raise BadInput(f"{name}: row {number} has no usable {field!r}; needed: {', '.join(fields)}")
    if not checked:
        raise BadInput(f"{name} has no rows")
    return checked


def _signature(path: Path) -> str:
    status = path.stat()
    return f"{path} {status.st_size} {status.st_mtime_ns}"
