"""Ready models for stages: bases that a warm worker keeps, and trained models on top of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from results.layout import Workspace
from workers.context import BadInput, Parent, StageContext
from workers.models.adapters import attach_adapter
from workers.models.cache import model_cache, tokenizer_cache
from workers.models.pretrained import MALFORMED, read_pretrained
from workers.models.pristine import Pristine
from workers.models.quantization import bits_and_bytes, keep_storage, precision_name
from workers.models.sources import ModelSource, base_source, committed_parent, hub_source, parent_source
from workers.specs.model import ModelRecipe, QuantizationRecipe


@dataclass(frozen=True)
class Kept:
    """A loaded base, its untouched state, and where it came from."""

    model: Any
    pristine: Pristine
    source: ModelSource


def load_tokenizer(context: StageContext, directory: Path) -> Any:
    """The tokenizer in `directory`, padding right, with a pad mark (the end mark where it has none).

    Raises:
        BadInput: there is none, or it has no end mark.
    """
    return tokenizer_cache(context).get(str(directory), lambda: read_tokenizer(directory))


def read_tokenizer(directory: Path) -> Any:
    """Load a tokenizer without a cache; see `load_tokenizer`."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(directory), trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise BadInput(
            f"no tokenizer could be loaded from {directory}: {str(error).splitlines()[0]}"
        ) from None
    if tokenizer.eos_token_id is None:
        raise BadInput(
            f"the tokenizer in {directory} has no end mark (eos_token); training could not teach to stop"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def load_model(
    source: ModelSource, recipe: ModelRecipe, quantization: QuantizationRecipe | None, device: str
) -> Any:
    """Load a causal language model in evaluation mode, safetensors only, no code of its own.

    Raises:
        BadInput: the files cannot be read as such a model, or this machine cannot compute it as the recipe says.
    """
    from transformers import AutoModelForCausalLM

    try:
        model = read_pretrained(
            AutoModelForCausalLM,
            source.directory,
            recipe.dtype,
            device,
            attn_implementation=recipe.attention,
            quantization_config=bits_and_bytes(quantization),
        )
    except MALFORMED as error:
        raise BadInput(f"model {source.name}: {source.directory} cannot be loaded: {error}") from None
    except ImportError as error:
        raise BadInput(_cannot_compute(source, recipe, device, error)) from None
    keep_storage(model)
    return model.requires_grad_(False).eval()


def _cannot_compute(source: ModelSource, recipe: ModelRecipe, device: str, error: ImportError) -> str:
    """What a package that is not there means for the person."""
    reason = str(error).strip().splitlines()[0]
    if recipe.attention == "flash_attention_2":
        reason = f"`attention: flash_attention_2` does not run here, on {device} ({reason}); `sdpa` runs everywhere"
    return f"model {source.name}: {reason}"


def device_of(context: StageContext) -> str:
    """`cpu` or `cuda`, as the execution says; `auto` takes a GPU when there is one."""
    wanted = context.execution.device
    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted


@contextmanager
def borrowed_base(
    context: StageContext,
    source: ModelSource,
    recipe: ModelRecipe,
    quantization: QuantizationRecipe | None = None,
) -> Iterator[Any]:
    """A frozen base in evaluation mode, kept warm between stages.

    Whatever the borrower puts on it is gone afterwards (see `Pristine`); the values of its weights must not
    be changed in place: use `load_model` for that.
    """
    device = device_of(context)
    key = (source.key, precision_name(recipe.dtype, quantization), recipe.attention, device)
    with borrowed(context, source, key, lambda: load_model(source, recipe, quantization, device)) as model:
        yield model


@contextmanager
def borrowed(
    context: StageContext, source: ModelSource, key: object, load: Callable[[], Any]
) -> Iterator[Any]:
    """What is kept under `key`, loaded where it is not, and given back as it was lent."""
    with context.phase("load"):
        kept: Kept = model_cache(context).get(key, lambda: _keep(load(), source))
    try:
        yield kept.model
    except BaseException:
        # A failed borrower may have changed weights in place; the next one loads anew.
        model_cache(context).forget(key)
        raise
    finally:
        kept.pristine.restore()


@contextmanager
def trained_model(
    context: StageContext,
    recipe: ModelRecipe,
    quantization: QuantizationRecipe | None = None,
    *,
    step: int | None = None,
) -> Iterator[tuple[Any, Any]]:
    """The model that the stage is about, ready to evaluate, and its tokenizer.

    That is the parent in role `trained` (an adapter on its base, a full model, or a merge that is rebuilt),
    else the parent in role `base`, else `recipe.hub`. `quantization` is the precision of the base under an
    adapter and of a full model. `step` takes the snapshot after that optimizer step, replayed when it is
    missing.

    Raises:
        BadInput: model or tokenizer are missing or malformed.
    """
    parent = context.parent("trained") or context.parent("base")
    if parent is None:
        with borrowed_model(context, hub_source(context, recipe), recipe, quantization) as pair:
            yield pair
    else:
        with parent_model(context, parent, recipe, quantization, step=step) as pair:
            yield pair


@contextmanager
def parent_model(
    context: StageContext,
    parent: Parent,
    recipe: ModelRecipe,
    quantization: QuantizationRecipe | None = None,
    *,
    step: int | None = None,
) -> Iterator[tuple[Any, Any]]:
    """What a given parent left, ready to evaluate, and its tokenizer; see `trained_model`."""
    directory = trained_directory(context, parent, step)
    if (directory / "adapter").is_dir():
        base = adapter_base(context.workspace, context, parent)
        with borrowed_model(context, base, recipe, quantization) as (model, tokenizer):
            with context.phase("load"):
                adapted = attach_adapter(model, directory / "adapter")
            yield adapted, tokenizer
    elif (directory / "merge.json").is_file():
        from workers.models.merging.rebuild import rebuild

        with rebuild(context, parent, recipe, quantization) as pair:
            yield pair
    else:
        at = "" if step is None else f"@{step}"
        source = parent_source(Parent(parent.role, parent.stage, directory, parent.metrics))
        keyed = ModelSource(source.key + at, source.name, source.directory)
        with borrowed_model(context, keyed, recipe, quantization) as pair:
            yield pair


@contextmanager
def borrowed_model(
    context: StageContext,
    source: ModelSource,
    recipe: ModelRecipe,
    quantization: QuantizationRecipe | None = None,
) -> Iterator[tuple[Any, Any]]:
    """A kept base and its tokenizer."""
    with context.phase("load"):
        tokenizer = load_tokenizer(context, source.directory)
    with borrowed_base(context, source, recipe, quantization) as model:
        yield model, tokenizer


def adapter_base(workspace: Workspace, context: StageContext, parent: Parent) -> ModelSource:
    """The base under the adapter of `parent`: that stage's own parent in role `base`, else its recipe's hub
    id.

    Raises:
        BadInput: its parent is not committed, or the hub id is not on this machine.
    """
    base = committed_parent(workspace, parent.stage, "base")
    if base is not None:
        return parent_source(base)
    model: ModelRecipe = parent.stage.recipe.model  # type: ignore[attr-defined]
    return hub_source(context, model)


def trained_directory(context: StageContext, parent: Parent, step: int | None) -> Path:
    """The directory that holds `adapter/` or `model/` of a parent's training after `step` (None: its end)."""
    training = getattr(parent.stage.recipe, "training", None)
    if step is None or (training is not None and step == training.steps):
        return parent.output
    if training is None or step > training.steps:
        raise BadInput(f"stage {parent.stage.id} ({parent.stage.kind.name}) has no step {step} to evaluate")
    from workers.training.replay import replay_to_step, snapshot_directory

    stored = snapshot_directory(parent.output, step)
    return stored if stored.is_dir() else replay_to_step(context, parent, step)


def _keep(model: Any, source: ModelSource) -> Kept:
    return Kept(model, Pristine(model), source)


__all__ = [
    "base_source",
    "borrowed_base",
    "borrowed_model",
    "load_model",
    "load_tokenizer",
    "parent_model",
    "trained_model",
]
