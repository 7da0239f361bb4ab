"""The code that jobs run, frozen at submit: editing the source later changes nothing that was submitted."""

import hashlib
import os
import secrets
import shutil
from pathlib import Path

from results.layout import Workspace

PACKAGES = ("results", "workers", "cluster", "orchestrator", "grids")


def freeze_code(workspace: Workspace) -> str:
    """Copy Yates's packages to `code/<hash>/` unless they are there; return the hash (16 hexadecimal digits).

    The copy appears whole or not at all, so two submissions at once are harmless.
    """
    source = Path(__file__).parent.parent
    files = code_files(source)
    identity = code_hash(source, files)
    target = workspace.code / identity
    if not target.is_dir():
        temporary = workspace.code / f".{identity}.{secrets.token_hex(4)}"
        for path in files:
            copy = temporary / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, copy)
        _put_in_place(temporary, target)
    return identity


def current_code() -> str:
    """The hash that `freeze_code` would return now."""
    source = Path(__file__).parent.parent
    return code_hash(source, code_files(source))


def code_files(source: Path) -> list[Path]:
    """The files of Yates's packages below `source`, relative to it, sorted."""
    return sorted(
        path.relative_to(source)
        for package in PACKAGES
        for path in (source / package).rglob("*")
        if path.suffix in (".py", ".yaml", ".csv", ".txt", ".jinja", ".js", ".css", ".typed")
        and path.is_file()
    )


def code_hash(source: Path, files: list[Path]) -> str:
    """The hash of the names and contents of `files`."""
    total = hashlib.sha256()
    for path in files:
        total.update(f"{path}\0".encode())
        total.update((source / path).read_bytes())
    return total.hexdigest()[:16]


def code_environment(workspace: Workspace, identity: str) -> dict[str, str]:
    """The environment in which a job runs the frozen code; a user's own modules stay importable."""
    frozen = str((workspace.code / identity).resolve())
    paths = [frozen, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), str(Path.cwd())]
    # Without a safe path, `python -m` would put the current directory before the frozen code.
    return {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONSAFEPATH": "1",
        "YATES_CODE": identity,
    }


def _put_in_place(temporary: Path, target: Path) -> None:
    try:
        temporary.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(temporary, ignore_errors=True)
