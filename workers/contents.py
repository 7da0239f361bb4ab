"""The content of a model's or data set's files as one digest: a plan takes it, a worker compares it before it reads."""

import hashlib
import re
from pathlib import Path

from workers.context import BadInput
from workers.outputs import file_digest
from workers.specs.data import DataSource
from workers.specs.model import ModelRecipe

_CONTENT = re.compile(r"[0-9a-f]{64}")
_PLACE = re.compile(r"\{\w+\}")

_digests: dict[str, tuple[tuple[int, int], str]] = {}
"""Path of a file -> its (size, modification time) and digest when it was last read."""


class NoFiles(Exception):
    """A directory holds none of the files that count."""


def content_digest(path: Path, files: tuple[str, ...] = ()) -> str:
    """The sha256 (hexadecimal) of a file, or of a directory's names, sizes and contents without hidden ones.

    `files` restricts a directory to those that match, with `{split}` and `{preference}` open as loaders fill
    them. A file is read again when its size or time changed.

    Raises:
        NoFiles: the directory holds none, or none that matches.
        OSError: a file cannot be read.
    """
    if path.is_file():
        return _file_digest(path)
    names = _names(path, files)
    if not names:
        raise NoFiles(f"holds no file{' that matches ' if files else ''}{', '.join(files)}")
    lines = [f"{name}\0{(path / name).stat().st_size}\0{_file_digest(path / name)}" for name in sorted(names)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def check_content(source: DataSource | ModelRecipe, path: Path) -> None:
    """Refuse files that are not those which the plan saw: the result would pass for another's.

    A commit of the hub, and a digest of another form that a grid gives, are believed. Files are read whole once in a
    worker's life.

    Raises:
        BadInput: the content has changed, or lies otherwise on this machine, or cannot be read.
    """
    if source.digest is None or not _CONTENT.fullmatch(source.digest):
        return
    files = source.files if isinstance(source, DataSource) else ()
    try:
        found = content_digest(path, files)
    except (NoFiles, OSError) as error:
        raise BadInput(f"{source.hub}: {path} cannot be compared with the plan: {error}") from None
    if found != source.digest:
        raise BadInput(
            f"{source.hub}: what lies in {path} is not what the plan saw (digest {found[:12]}, planned "
            f"{source.digest[:12]}); bring those files back, or plan again: the changed ones make other experiments"
        )


def _names(directory: Path, files: tuple[str, ...]) -> set[str]:
    # A place beside a star stays one star: `**` means directories, and only as a whole part of a path.
    patterns = [re.sub(r"\*+", "*", _PLACE.sub("*", name)) for name in files] or ["**/*"]
    found = (path for pattern in patterns for path in directory.glob(pattern) if path.is_file())
    relative = (path.relative_to(directory) for path in found)
    return {path.as_posix() for path in relative if not any(part.startswith(".") for part in path.parts)}


def _file_digest(path: Path) -> str:
    status = path.stat()
    mark = (status.st_size, status.st_mtime_ns)
    known = _digests.get(str(path))
    if known is None or known[0] != mark:
        known = _digests[str(path)] = (mark, file_digest(path))
    return known[1]
