"""Recovery checkpoints: directories that are complete or do not count.

A checkpoint is written under a temporary name; its `MANIFEST.json`, written last, lists each file's size and
sha256; then the directory is renamed to its step, six digits. So `checkpoints/000100/` either verifies or was
damaged afterwards. This module is light: supervisors use it too.
"""

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from results.files import WorkspaceError, json_bytes, read_json, sync_directory, write_atomic
from results.layout import Workspace
from workers.outputs import file_digest

MANIFEST = "MANIFEST.json"
KEPT = 2
DAMAGED = "damaged-"


def checkpoint_name(step: int) -> str:
    """The directory name of a step: at least six digits."""
    return f"{step:06d}"


@contextmanager
def new_checkpoint(directory: Path, step: int) -> Iterator[Path]:
    """A private directory to fill; on leaving it becomes the complete checkpoint of `step`.

    The newest `KEPT` of `directory` stay, older ones are removed. Nothing appears when the block raises.

    Raises:
        OSError: the disk is full or not writable; older checkpoints are then untouched.
    """
    directory.mkdir(parents=True, exist_ok=True)
    private = directory / f".{checkpoint_name(step)}.{secrets.token_hex(6)}"
    private.mkdir()
    try:
        yield private
        _seal(private)
        _publish(private, directory / checkpoint_name(step))
    finally:
        shutil.rmtree(private, ignore_errors=True)
    prune(directory)


def prune(directory: Path, kept: int = KEPT) -> None:
    """Remove all but the newest `kept` checkpoints of one attempt."""
    for old in _steps(directory)[:-kept]:
        shutil.rmtree(old, ignore_errors=True)


def verify_checkpoint(checkpoint: Path) -> str | None:
    """Why a checkpoint cannot be used, or None when every file is there with its size and checksum."""
    try:
        listed = read_json(checkpoint / MANIFEST)["files"]
        for name, entry in listed.items():
            path = checkpoint / name
            if path.stat().st_size != entry["bytes"]:
                return f"{name} has {path.stat().st_size} bytes, not {entry['bytes']}"
            if file_digest(path) != entry["sha256"]:
                return f"{name} does not have its checksum"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, WorkspaceError, KeyError, TypeError, AttributeError) as error:
        return f"it cannot be read ({type(error).__name__}: {error})"
    return None


def newest_checkpoint(
    workspace: Workspace, stage_id: str, suits: Callable[[Path], bool] = lambda checkpoint: True
) -> Path | None:
    """The checkpoint of the highest step, of any attempt at a stage, that `suits` and verifies.

    A damaged one on the way is renamed `damaged-…` and the one before is tried.
    """
    attempts = _directories(workspace.attempts(stage_id))
    found = [step for attempt in attempts for step in _steps(attempt / "checkpoints")]
    return newest_of([checkpoint for checkpoint in found if suits(checkpoint)])


def newest_of(checkpoints: list[Path]) -> Path | None:
    """The one of the highest step that verifies; damaged ones above it are set aside."""
    for checkpoint in sorted(checkpoints, key=lambda path: (int(path.name), str(path)), reverse=True):
        if verify_checkpoint(checkpoint) is None:
            return checkpoint
        set_aside(checkpoint)
    return None


def set_aside(checkpoint: Path) -> None:
    """Rename a damaged checkpoint so that nobody looks at it again, unless another process has done so."""
    try:
        checkpoint.rename(checkpoint.with_name(f"{DAMAGED}{checkpoint.name}-{secrets.token_hex(3)}"))
    except OSError:
        if checkpoint.exists():
            raise


def _seal(directory: Path) -> None:
    """Sync every file and write the manifest."""
    files = {
        str(path.relative_to(directory)): {
            "bytes": path.stat().st_size,
            "sha256": file_digest(path, sync=True),
        }
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
    write_atomic(directory / MANIFEST, json_bytes({"version": 1, "files": files}))
    sync_directory(directory)


def _publish(private: Path, target: Path) -> None:
    """Rename into place. A checkpoint of the same step was made by the same bits, or is damaged: it goes."""
    if target.exists():
        target.rename(private.with_name(f"{private.name}.old"))
    private.rename(target)
    sync_directory(target.parent)
    shutil.rmtree(private.with_name(f"{private.name}.old"), ignore_errors=True)


def _steps(directory: Path) -> list[Path]:
    return sorted(
        (path for path in _directories(directory) if path.name.isdigit()), key=lambda path: int(path.name)
    )


def _directories(parent: Path) -> list[Path]:
    try:
        return [path for path in parent.iterdir() if path.is_dir()]
    except FileNotFoundError:
        return []
