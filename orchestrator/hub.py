"""Hub ids and local paths become revisions and content digests, so that nothing else can pass for them.

Looked up in this order: the hub map (a YAML file, hub id: local path), a local path, the hub's own cache.
Nothing is downloaded; `Hub.unresolved` names what is in none of them.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from orchestrator.errors import Problems, mistake
from orchestrator.source import read_document
from workers.contents import NoFiles, content_digest
from workers.recipe import Settings
from workers.specs.data import DataSource
from workers.specs.model import ModelRecipe
from workers.world import world_digest

Repository = Literal["model", "dataset"]
Resolvable = TypeVar("Resolvable", bound=Settings)


class Hub:
    """Resolves the sources of recipes; `paths` maps hub ids to local paths."""

    def __init__(self, paths: Mapping[str, str] | None = None) -> None:
        self.paths = dict(paths or {})
        self.unresolved: set[str] = set()
        self._known: dict[Settings, Settings | None] = {}

    @classmethod
    def read(cls, path: Path) -> "Hub":
        """Read a hub map; relative paths are those from the map's own directory.

        Raises:
            GridError: the file is not a mapping of words to paths, or a path does not exist.
        """
        document = read_document(path)
        problems = Problems()
        paths = {}
        for name, target in document.values.items():
            place = document.place((name,))
            if not isinstance(name, str) or not isinstance(target, str):
                problems.add(place, "a hub map must map hub ids to local paths, both words")
                continue
            found = path.parent / Path(target).expanduser()
            if not found.exists():
                problems.add(place, f"{name!r} is mapped to {target!r}, which does not exist")
            paths[name] = str(found.resolve())
        problems.raise_found()
        return cls(paths)

    def resolve(self, settings: Resolvable) -> Resolvable:
        """`settings` with every model and data source below it resolved; itself when there is none."""
        changed = {}
        for name in type(settings).model_fields:
            value = getattr(settings, name)
            resolved = self._value(value)
            if resolved is not value:
                changed[name] = resolved
        return settings.model_copy(update=changed) if changed else settings

    def model_directory(self, model: ModelRecipe) -> Path | None:
        """Where the files of a model lie on this machine, or None: they do not."""
        if model.hub is None:
            return None
        local = Path(self.paths.get(model.hub, model.hub)).expanduser()
        return local if local.is_dir() else cached_snapshot(model.hub, "model", model.revision)

    def _value(self, value: Any) -> Any:
        if isinstance(value, (DataSource, ModelRecipe)):
            if value not in self._known:
                resolved = self._source(value)
                self._known[value] = None if resolved is value else resolved
            return self._known[value] or value
        if isinstance(value, Settings):
            return self.resolve(value)
        if isinstance(value, tuple) and value and isinstance(value[0], Settings):
            items = tuple(self._value(item) for item in value)
            return value if all(new is old for new, old in zip(items, value, strict=True)) else items
        return value

    def _source(self, source: DataSource | ModelRecipe) -> DataSource | ModelRecipe:
        """A source with its digest; one whose digest the grid gives is believed."""
        if source.digest is not None:
            return source
        if isinstance(source, DataSource) and source.world is not None:
            return source.model_copy(update={"digest": world_digest(source.world)})
        if source.hub is None:
            return source
        files = source.files if isinstance(source, DataSource) else ()
        local = Path(self.paths.get(source.hub, source.hub)).expanduser()
        if local.exists():
            # The files are what they are; a revision of the hub says nothing of them.
            return source.model_copy(update={"revision": None, "digest": source_digest(local, files)})
        repository: Repository = "dataset" if isinstance(source, DataSource) else "model"
        snapshot = cached_snapshot(source.hub, repository, source.revision)
        if snapshot is None:
            self.unresolved.add(source.hub)
            return source
        return source.model_copy(update={"revision": snapshot.name, "digest": f"revision:{snapshot.name}"})


def source_digest(path: Path, files: tuple[str, ...] = ()) -> str:
    """The digest of a source's content.

    Raises:
        GridError: a file cannot be read, or there is none.
    """
    try:
        return content_digest(path, files)
    except NoFiles as error:
        raise mistake(str(path), str(error)) from None
    except OSError as error:
        raise mistake(str(error.filename or path), f"cannot be read: {error.strerror or error}") from None


def cached_snapshot(hub: str, repository: Repository, revision: str | None = None) -> Path | None:
    """The directory of a hub id in the hub's cache on this machine, named by its commit, or None: not there."""
    directory = _cache(hub, repository)
    commit = revision
    if commit is None or not (directory / "snapshots" / commit).is_dir():
        try:
            commit = (directory / "refs" / (revision or "main")).read_text().strip()
        except OSError:
            return None
    found = directory / "snapshots" / commit
    return found if found.is_dir() else None  # a download that failed leaves a name without files


def _cache(hub: str, repository: Repository) -> Path:
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    return cache / f"{repository}s--{hub.replace('/', '--')}"
