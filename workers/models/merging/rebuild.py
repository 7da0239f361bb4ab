"""A merge made again where it is needed: `merge.json` says how, and which digest its tensors must have."""

import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from results.files import read_json
from workers.context import BadInput, Parent, StageContext
from workers.models.loading import borrowed_base, device_of, load_model, load_tokenizer
from workers.models.merging.dense import DENSE_METHODS, dense_tensors, merged_tensors, tensors_digest
from workers.models.merging.factors import merged_factors
from workers.models.merging.parents import Delta, common_base, parent_deltas, quantizations
from workers.models.sources import ModelSource, stage_output
from workers.specs.merge import MergeRecipe
from workers.specs.model import ModelRecipe, QuantizationRecipe
from workers.stage import Stage

FILE = "merge.json"


def merge_parents(context: StageContext, stage: Stage) -> list[Parent]:
    """The committed parents of a merge in role `merged`, in their order."""
    identities = [identity for role, identity in stage.parents if role == "merged"]
    return [
        Parent(
            "merged", Stage.read(context.workspace, identity), stage_output(context.workspace, identity), []
        )
        for identity in identities
    ]


def compute_merge(
    context: StageContext, recipe: MergeRecipe, parents: list[Parent], source: ModelSource
) -> dict[str, torch.Tensor]:
    """Every tensor that the merge changes, by name, in the base's dtype and on its device.

    Raises:
        BadInput: parents do not fit each other, the method, or the base.
    """
    storage = _storage(recipe, parents)
    with borrowed_base(context, source, recipe.model, storage) as model, context.phase("compute"):
        return _merged(recipe, model, parents)


def _merged(recipe: MergeRecipe, model: Any, parents: list[Parent]) -> dict[str, torch.Tensor]:
    base = dense_tensors(model)
    deltas: list[Delta] = parent_deltas(parents)
    if recipe.method not in DENSE_METHODS:
        deltas = [merged_factors(recipe, model, parents)]
        recipe = recipe.model_copy(update={"method": "linear", "weights": (1.0,)})
    merged = dict(merged_tensors(recipe, base, deltas, model.config.num_hidden_layers))
    untouched = base if recipe.base_precision == "dequantized" else {}
    return {**{name: tensor.clone() for name, tensor in untouched.items()}, **merged}


@contextmanager
def rebuild(
    context: StageContext, parent: Parent, recipe: ModelRecipe, quantization: QuantizationRecipe | None = None
) -> Iterator[tuple[Any, Any]]:
    """The merged model of `parent`, ready to evaluate, and its tokenizer.

    It has the merge's own dtype; with `quantization` the merged tensors are stored that way.

    Raises:
        BadInput: the merge or its parents are missing.
    """
    merge: MergeRecipe = parent.stage.recipe  # type: ignore[assignment]
    parents = merge_parents(context, parent.stage)
    source = common_base(context, parents)
    with context.phase("load"):
        tokenizer = load_tokenizer(context, source.directory)
    tensors = compute_merge(context, merge, parents, source)
    _compare(parent, tensors)
    model_recipe = recipe.model_copy(update={"dtype": merge.model.dtype})
    with borrowed_base(context, source, model_recipe) as model:
        replace_tensors(model, tensors)
        if quantization is None:
            yield model, tokenizer
            return
        stored = context.attempt / "rebuilt" / parent.stage.id
        with context.phase("load"):
            model.save_pretrained(str(stored))
    with context.phase("load"):
        rebuilt = ModelSource(f"stage:{parent.stage.id}", source.name, stored)
        quantized = load_model(rebuilt, model_recipe, quantization, device_of(context))
        shutil.rmtree(stored)
    yield quantized, tokenizer


def replace_tensors(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put new parameters in place of a borrowed model's; its own are untouched and come back with it."""
    for name, tensor in tensors.items():
        path, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(path), attribute, nn.Parameter(tensor, requires_grad=False))


def _storage(recipe: MergeRecipe, parents: list[Parent]) -> QuantizationRecipe | None:
    """How the base is stored before it is made dense: None for the unquantized one."""
    if recipe.base_precision == "unquantized":
        return None
    found = quantizations(parents)
    if found[0] is None or any(each != found[0] for each in found):
        raise BadInput(
            "`base_precision: dequantized` needs parents that were all trained on one quantized storage"
        )
    storage: QuantizationRecipe = found[0]
    return storage


def _compare(parent: Parent, tensors: Mapping[str, torch.Tensor]) -> None:
    """Another processor may round other last bits; anything more would be another merge."""
    written = read_json(parent.output / FILE)["digest"]
    if tensors_digest(tensors) != written:
        warnings.warn(
            f"merge {parent.stage.id} was rebuilt with other bits than when it was made (another processor "
            "or library version); its attempts' fingerprints show where they mix",
            stacklevel=2,
        )
