"""Generations of the store: whole directories of Parquet files that appear by one rename.

A directory `store/generation-000012` is complete from the moment it exists. `store/latest` is a symbolic
link for people and plain Parquet readers; the highest number is the truth, and whoever compacts next
mends a link that a crash left behind.
"""

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from results.files import WorkspaceError, json_bytes, read_json, sync_directory, write_atomic
from results.layout import Workspace

KEPT_BEFORE_LATEST = 2
"""Older generations that stay, for readers that opened one a moment ago."""

DEAD_AFTER_SECONDS = 3600.0
"""A half-built generation that nothing was written to for so long belongs to a dead compactor."""

_NAME = re.compile(r"generation-(\d{6,})")
_BUILDING = ".building-"
_MANIFEST = "manifest.json"


class TableFacts(TypedDict):
    """What the manifest says of one Parquet file."""

    rows: int
    bytes: int
    sha256: str


class Manifest(TypedDict):
    """What a generation was made of.

    `offsets` are bytes folded of each journal and `open` the claims that were open there; `endings` holds
    for each uncommitted stage the number and ending of its last attempt; `plans` marks the plan files.
    `revisit` are stages to look at again though no journal names them; `damaged` maps a path to what is
    wrong with it. `stages` counts the committed stages, which the table `commits` lists.
    """

    number: int
    schema: int
    plans: dict[str, list[int]]
    offsets: dict[str, int]
    open: dict[str, dict[str, str]]
    endings: dict[str, tuple[int, str]]
    revisit: list[str]
    damaged: dict[str, str]
    stages: int
    tables: dict[str, TableFacts]


@dataclass(frozen=True)
class Generation:
    """One complete generation on disk."""

    path: Path
    manifest: Manifest

    @property
    def number(self) -> int:
        """Generations count from 1."""
        return self.manifest["number"]

    @property
    def damaged(self) -> dict[str, str]:
        """Files that could not be read and were left out: path in the workspace, and the reason."""
        return self.manifest["damaged"]

    def table(self, name: str) -> Path:
        """The Parquet file of table `name`."""
        return self.path / f"{name}.parquet"

    def damaged_tables(self) -> list[str]:
        """Names of the tables whose bytes are not those that were published."""
        return [name for name in self.manifest["tables"] if not self.sound(name)]

    def sound(self, name: str) -> bool:
        """Whether the bytes of table `name` are those that were published."""
        facts = self.manifest["tables"].get(name)
        return facts is not None and _checksum_or_none(self.table(name)) == facts["sha256"]


def newest(workspace: Workspace) -> Generation | None:
    """The newest generation whose manifest is readable, or None."""
    for number in sorted(_numbers(workspace), reverse=True):
        path = _directory(workspace, number)
        with suppress(FileNotFoundError, WorkspaceError):
            return Generation(path, read_json(path / _MANIFEST))
    return None


def next_number(workspace: Workspace) -> int:
    """One more than the highest generation, readable or not."""
    return max(_numbers(workspace), default=0) + 1


@contextmanager
def building(workspace: Workspace) -> Iterator[Path]:
    """A private directory to build a generation in, gone afterwards unless it was published."""
    workspace.store.mkdir(parents=True, exist_ok=True)
    path = workspace.store / f"{_BUILDING}{secrets.token_hex(8)}"
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def publish(workspace: Workspace, built: Path, manifest: Manifest) -> Generation | None:
    """Make the directory `built` generation `manifest["number"]`, or return None when that exists already.

    Everything is synced before the rename, so a generation that exists is whole also after a power cut.
    """
    write_atomic(built / _MANIFEST, json_bytes(manifest))
    sync_directory(built)
    target = _directory(workspace, manifest["number"])
    try:
        built.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return None
        raise
    sync_directory(workspace.store)
    return Generation(target, manifest)


def point_latest(workspace: Workspace) -> None:
    """Let `store/latest` name the highest generation.

    Repeated until no higher one appeared meanwhile, so that of several compactors a slow one cannot leave
    the link behind.
    """
    link = workspace.store / "latest"
    while numbers := _numbers(workspace):
        name = _directory(workspace, max(numbers)).name
        if link.is_symlink() and link.readlink() == Path(name):
            return
        temporary = workspace.store / f".latest-{secrets.token_hex(6)}"
        temporary.symlink_to(name)
        temporary.replace(link)


def sweep(workspace: Workspace, now: float) -> None:
    """Remove generations that are too old and what compactors left half-built.

    `now` is the file system's own time, taken from a file just written: clocks of machines may differ.
    """
    for number in sorted(_numbers(workspace))[: -KEPT_BEFORE_LATEST - 1]:
        shutil.rmtree(_directory(workspace, number), ignore_errors=True)
    for leftover in workspace.store.glob(".*"):
        if now - _last_touched(leftover) > DEAD_AFTER_SECONDS:
            _remove(leftover)


def table_facts(path: Path, rows: int) -> TableFacts:
    """Size and checksum of the Parquet file `path`, which is synced to disk as well."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        os.fsync(stream.fileno())
    return {"rows": rows, "bytes": path.stat().st_size, "sha256": digest}


def _directory(workspace: Workspace, number: int) -> Path:
    return workspace.store / f"generation-{number:06d}"


def _numbers(workspace: Workspace) -> list[int]:
    try:
        names = [path.name for path in workspace.store.iterdir()]
    except FileNotFoundError:
        return []
    return [int(match.group(1)) for match in map(_NAME.fullmatch, names) if match]


def _checksum_or_none(path: Path) -> str | None:
    with suppress(OSError), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
    return None


def _last_touched(path: Path) -> float:
    """The newest modification time of `path` and what lies in it; infinite when it is just vanishing."""
    try:
        inside = list(path.iterdir()) if path.is_dir() and not path.is_symlink() else []
        return max(item.lstat().st_mtime for item in [path, *inside])
    except OSError:
        return float("inf")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
