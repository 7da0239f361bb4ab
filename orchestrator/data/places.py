"""Where a needed model or data set lies on this machine, how large it is, and whether it is whole.

Looked up as workers do: the hub map, a local path, the hub's own cache. The network is never asked.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from orchestrator.data.needs import Need
from orchestrator.hub import cached_snapshot
from workers.models.sources import MODEL_LEFT_OUT

Where = Literal["mapped", "local path", "hub cache", "embedded", "missing"]


@dataclass(frozen=True)
class Place:
    """Where a need lies. `size` counts the bytes of the files that matter; `problem` says what is wrong there."""

    where: Where
    path: Path | None = None
    size: int = 0
    problem: str = ""

    @property
    def fetchable(self) -> bool:
        """Whether a download may mend it: it is nowhere, or only a part of it is in the hub's cache."""
        return self.where == "missing" or (self.where == "hub cache" and bool(self.problem))


def find(need: Need, hub_map: Mapping[str, str]) -> Place:
    """The place of a need."""
    identity = need.identity
    if identity.embedded:
        return Place("embedded")
    where: Where = "mapped" if identity.hub in hub_map else "local path"
    local = Path(hub_map.get(identity.hub, identity.hub)).expanduser()
    if local.exists():
        return _measured(need, where, local)
    if where == "mapped":
        return Place("missing", problem=f"is mapped to {local}, which does not exist")
    cached = cached_snapshot(identity.hub, identity.repository, identity.revision)
    if cached is None:
        return Place("missing", problem="is not on this machine")
    return _measured(need, "hub cache", cached)


def _measured(need: Need, where: Where, path: Path) -> Place:
    # A mirror may have a layout of its own; the patterns are the hub's.
    patterns = need.patterns if where == "hub cache" or need.identity.repository == "model" else []
    files = [path] if path.is_file() else matching(path, patterns)
    size = sum(file.stat().st_size for file in files)
    problem = model_problem(path, need.longest) if need.identity.repository == "model" else ""
    if not problem and not files:
        problem = f"has none of the files {', '.join(patterns)}" if patterns else "holds no file"
    if not problem and where == "hub cache":
        problem = _partial(need)
    return Place(where, path, size, problem)


def _partial(need: Need) -> str:
    """That the hub's cache has only a part of the files, as far as it knows them; empty when all are there."""
    from workers.context import BadInput
    from workers.models.sources import hub_directory

    identity = need.identity
    try:
        hub_directory({}, identity.hub, identity.revision, identity.repository, need.patterns)
    except BadInput:
        return "is only partly in the hub's cache"
    return ""


def matching(directory: Path, patterns: list[str]) -> list[Path]:
    """The files below `directory` that match; all without hidden ones when there are no patterns."""
    found = {}
    for path in directory.rglob("*"):
        name = path.relative_to(directory).as_posix()
        hidden = any(part.startswith(".") for part in name.split("/"))
        wanted = not patterns or any(fnmatch(name, pattern) for pattern in patterns)
        if wanted and not hidden and path.is_file() and not any(fnmatch(name, out) for out in MODEL_LEFT_OUT):
            found[name] = path
    return [found[name] for name in sorted(found)]


def model_problem(directory: Path, longest: int = 0) -> str:
    """What a directory of a model lacks to be loaded and given `longest` tokens; empty when nothing."""
    if not (directory / "config.json").is_file():
        return "holds no config.json"
    shards = _shards(directory)
    absent = [name for name in shards if not (directory / name).is_file()]
    if absent:
        return f"lacks {len(absent)} of {len(shards)} weight files, such as {absent[0]}"
    if not any(directory.glob("*.safetensors")):
        return (
            "holds no safetensors, and weights in other formats are not loaded; convert them, or name a revision "
            "or mirror that has them"
        )
    if not any((directory / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        return "holds no tokenizer"
    context = _context(directory)
    if context is not None and longest > context:
        return f"reads at most {context:,} tokens, but a stage may give it {longest:,}: lower the stage's lengths"
    return ""


def _context(directory: Path) -> int | None:
    """The most tokens that a model's configuration allows, where it says so."""
    try:
        content = json.loads((directory / "config.json").read_text())
    except (OSError, ValueError):
        return None
    names = ("max_position_embeddings", "n_positions")
    found = [
        content[name] for name in names if isinstance(content, dict) and isinstance(content.get(name), int)
    ]
    return found[0] if found else None


def _shards(directory: Path) -> list[str]:
    """The weight files that the index of a divided model names."""
    index = directory / "model.safetensors.index.json"
    try:
        names = json.loads(index.read_text())["weight_map"].values()
    except (OSError, ValueError, KeyError, AttributeError):
        return []
    return sorted({name for name in names if re.fullmatch(r"[\w.-]+", str(name))})
