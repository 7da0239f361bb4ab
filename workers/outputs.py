"""Outputs of stages: made durable and digested before they are committed."""

import hashlib
import os
from pathlib import Path

from results.files import sync_directory


def seal(directory: Path) -> str:
    """Sync every file below `directory` and return the sha256 of their names and contents (hexadecimal)."""
    total = hashlib.sha256()
    for path in output_files(directory):
        total.update(f"{path.relative_to(directory)}\0{file_digest(path, sync=True)}\n".encode())
    if directory.is_dir():
        sync_directory(directory)
    return total.hexdigest()


def digest_of(directory: Path) -> str:
    """What `seal` would return, without writing: for verification."""
    total = hashlib.sha256()
    for path in output_files(directory):
        total.update(f"{path.relative_to(directory)}\0{file_digest(path)}\n".encode())
    return total.hexdigest()


def output_files(directory: Path) -> list[Path]:
    """The files that a commit vouches for, sorted. Snapshots may be replayed and removed, so they are not."""
    return sorted(
        path
        for path in directory.rglob("*")
        if path.is_file() and path.relative_to(directory).parts[0] != "snapshots"
    )


def file_digest(path: Path, sync: bool = False) -> str:
    """The sha256 of one file's content (hexadecimal)."""
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if sync:
            os.fsync(stream.fileno())
    return digest
