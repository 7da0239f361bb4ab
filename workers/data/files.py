"""Which files of a data source hold a split: the world's, a directory's usual layout, or those named."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workers.context import BadInput, StageContext
from workers.data.layouts import opened
from workers.models.sources import planned_place
from workers.specs.data import DataSource
from workers.world import world_directory

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class SplitFiles:
    """Files of one split. `whole` says that they hold all rows, so that the split is by the prompt's hash."""

    paths: tuple[Path, ...]
    whole: bool


def source_directory(context: StageContext, source: DataSource, layouts: Sequence[str] = ()) -> Path:
    """The directory (or single file) of a source; `layouts` are the files that are read there.

    Raises:
        BadInput: the source names nothing, or is not on this machine, or only a part of those files, or files that
        the plan did not see.
    """
    if source.world is not None:
        return world_directory(context.workspace.cache, source.world)
    if source.hub is None:
        raise BadInput("no data: the recipe's `source` names neither a `world` nor a `hub` id or path")
    wanted = [opened(name) for name in source.files or layouts]
    return planned_place(context, source, wanted)


def split_files(
    context: StageContext, source: DataSource, layouts: Sequence[str], split: Split, preference: str = ""
) -> SplitFiles:
    """The files of `split`.

    `source.files` (else the first of `layouts` that exists) may hold `{split}` and `{preference}`; a name
    without `{split}`, or one whose test file is missing, holds all rows.

    Raises:
        BadInput: a named file, or every usual one, is missing.
    """
    root = source_directory(context, source, layouts)
    if root.is_file():
        return SplitFiles((root,), whole=True)
    if source.files:
        names = [name for name in source.files if not preference or _serves(name, preference)]
        return _named(root, names, split, preference)
    for layout in layouts:
        if _find(root, layout, "train", preference):
            return _named(root, [layout], split, preference)
    raise BadInput(f"{root}: found none of {', '.join(layouts)}; name the files in `source.files`")


def _serves(name: str, preference: str) -> bool:
    """Whether a file is for a preference: it has a place for it, names it, or names neither."""
    other = {"harmless": "helpful", "helpful": "harmless"}.get(preference, "")
    return "{preference}" in name or preference in name or not other or other not in name


def _named(root: Path, names: Sequence[str], split: Split, preference: str) -> SplitFiles:
    paths = [path for name in names for path in _find(root, name, split, preference)]
    if paths:
        return SplitFiles(tuple(paths), whole=not all("{split}" in name for name in names))
    whole = [path for name in names for path in _find(root, name, "train", preference)]
    if split == "test" and whole:
        return SplitFiles(tuple(whole), whole=True)
    raise BadInput(
        f"{root}: no file matches {', '.join(names)} (split {split}, preference {preference or 'any'})"
    )


def has_test_files(
    context: StageContext, source: DataSource, layouts: Sequence[str], preference: str = ""
) -> bool:
    """Whether the source has rows of its own for testing."""
    return not split_files(context, source, layouts, "test", preference).whole


def _find(root: Path, name: str, split: str, preference: str) -> list[Path]:
    return sorted(root.glob(name.replace("{split}", split).replace("{preference}", preference)))
