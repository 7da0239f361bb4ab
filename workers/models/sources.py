"""Where a model or its tokenizer lies on disk: a parent stage, a local directory, a mapped or a cached hub
id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from results.files import read_json_or_none
from results.layout import Workspace
from workers.contents import check_content
from workers.context import BadInput, Parent, StageContext
from workers.specs.data import DataSource
from workers.specs.model import ModelRecipe
from workers.stage import Stage

MODEL_FILES = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja")
"""Of a model's repository, what is fetched and must be whole in the hub's cache."""
MODEL_LEFT_OUT = ("original/*", "consolidated*", "*.bin", "*.gguf", "*.onnx", "onnx/*", "*.h5", "*.msgpack")


@dataclass(frozen=True)
class ModelSource:
    """A directory of model files and the key under which what is loaded from it may be kept.

    `key` names content, not a place: the id of the stage that made it, or hub id and revision. `name` is what
    an adapter's configuration calls its base; it never holds a path of this machine unless the user gave one.
    """

    key: str
    name: str
    directory: Path


def parent_source(parent: Parent) -> ModelSource:
    """The full model that a parent left in `model/`.

    Raises:
        BadInput: the parent left no full model.
    """
    return stage_source(parent.stage, parent.output)


def stage_source(stage: Stage, output: Path) -> ModelSource:
    """The full model below `output`, made by `stage`."""
    directory = output / "model"
    if not directory.is_dir():
        raise BadInput(f"stage {stage.id} ({stage.kind.name}) left no model: {directory} does not exist")
    return ModelSource(f"stage:{stage.id}", f"stage-{stage.id}", directory)


def base_source(context: StageContext, recipe: ModelRecipe) -> ModelSource:
    """The model that a stage starts from: its parent in role `base`, else `recipe.hub`.

    Raises:
        BadInput: there is neither, or the hub id is not on this machine.
    """
    parent = context.parent("base")
    return parent_source(parent) if parent is not None else hub_source(context, recipe)


def hub_source(context: StageContext, recipe: ModelRecipe) -> ModelSource:
    """The model that `recipe.hub` names.

    Raises:
        BadInput: the recipe names none, or it is not on this machine, or not the one that the plan saw.
    """
    if recipe.hub is None:
        raise BadInput(
            "no model: the stage has no parent in role `base`, and its recipe names no `model.hub`"
        )
    directory = planned_place(context, recipe)
    if not (directory / "config.json").is_file():
        raise BadInput(f"model {recipe.hub!r}: {directory} holds no config.json")
    return ModelSource(
        f"hub:{recipe.hub}@{recipe.digest or recipe.revision or directory}", recipe.hub, directory
    )


def planned_place(context: StageContext, source: DataSource | ModelRecipe, files: Sequence[str] = ()) -> Path:
    """The local directory (or file) that `source.hub`, which is given, names; with the content that the plan saw.

    Raises:
        BadInput: it is not on this machine, or not the one that the plan saw.
    """
    assert source.hub is not None
    repository = "dataset" if isinstance(source, DataSource) else "model"
    place = hub_directory(context.hub_map, source.hub, source.revision, repository, files)
    check_content(source, place)
    return place


def hub_directory(
    hub_map: dict[str, str],
    hub: str,
    revision: str | None = None,
    repository: str = "model",
    files: Sequence[str] = (),
) -> Path:
    """The local directory (or file) of a hub id; `repository` is `model` or `dataset`.

    Looked up in this order: the hub map, a local path, the hub's own cache. The network is never asked. In the cache
    all of the files must be there that match `files` and that the repository has, as far as its listing is known.

    Raises:
        BadInput: it is in none of them, or only a part of it; the message says how to bring it.
    """
    if hub in hub_map:
        return _mapped(hub, Path(hub_map[hub]).expanduser())
    local = Path(hub).expanduser()
    wanted = MODEL_FILES if repository == "model" else files
    return local if local.exists() else _cached(hub, revision, repository, wanted)


def stage_output(workspace: Workspace, stage_id: str) -> Path:
    """The output directory of a committed stage.

    Raises:
        BadInput: the stage is not committed.
    """
    commit = read_json_or_none(workspace.done_file(stage_id))
    if commit is None:
        raise BadInput(f"stage {stage_id} is not done: {workspace.done_file(stage_id)} does not exist")
    return workspace.output(stage_id, commit["attempt"])


def committed_parent(workspace: Workspace, stage: Stage, role: str) -> Parent | None:
    """The first parent of `stage` in `role`, read from the workspace, or None when it has none."""
    for name, identity in stage.parents:
        if name == role:
            output = stage_output(workspace, identity)
            return Parent(role, Stage.read(workspace, identity), output, [])
    return None


def _mapped(hub: str, path: Path) -> Path:
    if path.exists():
        return path
    raise BadInput(f"{hub!r} is mapped to {path}, which does not exist; correct the hub map")


def _cached(hub: str, revision: str | None, repository: str, files: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(
            snapshot_download(
                hub,
                revision=revision,
                repo_type=repository,
                local_files_only=True,
                allow_patterns=list(files) or None,
                ignore_patterns=list(MODEL_LEFT_OUT) if repository == "model" else None,
            )
        )
    except (HFValidationError, OSError) as error:  # OSError is the base of the hub's own errors
        part = getattr(error, "snapshot_path", None)
    if part is not None and not files:
        return Path(part)
    named = f"{repository} {hub!r}{f' at revision {revision}' if revision else ''}"
    where = "not in the hub map, not a local path, not in the hub's cache"
    trouble = f"is only partly in the hub's cache ({part})" if part else f"is not on this machine: {where}"
    raise BadInput(
        f"{named} {trouble}. Download it where there is a network (`yates data check GRID --fetch`), or map it to "
        "a local path with --hub-map"
    )
