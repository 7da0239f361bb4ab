"""Profiles by name: where their YAML files are looked for, and what is said when one is wrong."""

import os
from collections.abc import Iterator
from pathlib import Path

from cluster.profile import Profile
from orchestrator.errors import nearest
from orchestrator.source import read_document
from orchestrator.validation import validate
from results.files import WorkspaceError

PROFILE_VARIABLE = "YATES_PROFILE"
FOLDER_VARIABLE = "YATES_PROFILES"
DEFAULT = "default"


def load_profile(name: str | None = None) -> Profile:
    """The profile called `name`, or the one in the file `name`; None takes YATES_PROFILE, else `default`.

    Raises:
        WorkspaceError: there is no such profile; the message lists those that there are.
        GridError: its file has mistakes, each named with its line.
    """
    wanted = name or os.environ.get(PROFILE_VARIABLE) or DEFAULT
    path = Path(wanted)
    if path.suffix not in (".yaml", ".yml"):
        path = _find(wanted)
    return read_profile(path)


def read_profile(path: Path) -> Profile:
    """The profile in a YAML file; its name is the file's unless it gives one.

    Raises:
        GridError: the file cannot be read, or has mistakes.
    """
    document = read_document(path)
    values = {"name": path.stem, **document.values}
    return validate(Profile, values, f"profile {path.stem!r}", document.place)


def folders() -> list[Path]:
    """Where profiles are looked for, in order: YATES_PROFILES, `./profiles`, the user's configuration."""
    configured = os.environ.get(FOLDER_VARIABLE)
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    first = [Path(configured)] if configured else []
    return [*first, Path("profiles"), home / "yates" / "profiles"]


def _find(name: str) -> Path:
    known = dict(reversed(list(_known())))
    if name in known:
        return known[name]
    near = nearest(name, known)
    hint = f"; did you mean {near!r}?" if near else ""
    listed = f" there are: {', '.join(sorted(known))}." if known else ""
    raise WorkspaceError(
        f"no profile {name!r} in {', '.join(map(str, folders()))}{hint}{listed} "
        "`yates profile detect` writes a first one for this cluster"
    )


def _known() -> Iterator[tuple[str, Path]]:
    for folder in folders():
        for path in sorted(folder.glob("*.y*ml")):
            yield path.stem, path
