"""Files that appear whole or not at all, on a filesystem that several machines share.

Every fact of a workspace is written through this module. A reader never sees half a file: content is
written under a temporary name, synced, and then renamed (`write_atomic`) or linked (`publish_once`).
"""

import json
import os
import secrets
from pathlib import Path
from typing import Any

import orjson


class WorkspaceError(Exception):
    """A workspace that cannot be read or written; the message is for the person who runs Yates."""


def write_atomic(path: Path, content: bytes) -> None:
    """Replace `path` with `content` in one step.

    Invariant: at any moment, also after a power cut, `path` holds the old content or the new, never a part.

    Raises:
        OSError: the disk is full or the directory is not writable; `path` is then unchanged.
    """
    temporary = _write_beside(path, content)
    try:
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def publish_once(path: Path, content: bytes) -> bool:
    """Create `path` with `content` unless it exists; tell whether this caller created it.

    `link()` is atomic on local and network filesystems alike, so of any number of callers exactly one
    receives True. A network filesystem may report failure for a link that it made; the link count of
    the temporary file then tells the truth.
    """
    temporary = _write_beside(path, content)
    try:
        os.link(temporary, path)
        return True
    except FileExistsError:
        return temporary.stat().st_nlink == 2
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Parse the JSON file `path`.

    Raises:
        FileNotFoundError: there is no such file.
        WorkspaceError: the file is damaged; the message names it.
    """
    content = path.read_bytes()
    try:
        return json.loads(content)
    except ValueError as error:
        raise WorkspaceError(
            f"{path}: not readable as JSON ({error}); `yates verify --repair` sets it aside"
        ) from None


def read_json_or_none(path: Path) -> Any | None:
    """Parse `path`, or return None when it does not exist."""
    try:
        return read_json(path)
    except FileNotFoundError:
        return None


def parse_record(content: bytes) -> Any:
    """The value of one of the many records of a workspace, by a faster reader; whole numbers have at most 64 bits.

    What that reader refuses (NaN, half a surrogate pair) is left to Python's own.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return json.loads(content)


def json_bytes(value: Any) -> bytes:
    """Encode `value` as compact UTF-8 JSON with sorted keys; equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sync_directory(path: Path) -> None:
    """Make the names inside directory `path` durable, where the filesystem offers it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _write_beside(path: Path, content: bytes) -> Path:
    """Write and sync `content` to a fresh hidden file in the directory of `path`, made if absent."""
    temporary = path.parent / f".{path.name}.{secrets.token_hex(6)}"
    descriptor = open_in(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as stream:
            written = 0
            while written < len(content):
                written += stream.write(memoryview(content)[written:])
            os.fsync(descriptor)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def open_in(path: Path, flags: int) -> int:
    """Open `path`; its directory is made when it turns out to be absent, which is rarer than a look is cheap."""
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o666)
