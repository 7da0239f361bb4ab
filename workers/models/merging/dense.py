"""The merged tensors of a recipe, one after another, and their digest."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from workers.context import BadInput
from workers.identity import derive_seed
from workers.models.merging.dare_ties import dare_ties
from workers.models.merging.interpolation import layered_interpolation, linear, slerp
from workers.models.merging.parents import Delta
from workers.specs.merge import MergeRecipe

DENSE_METHODS = ("slerp", "dare-ties", "linear")


def parent_weights(recipe: MergeRecipe, parents: int) -> list[float]:
    """The weight of each parent: as given, else 1/n.

    Raises:
        BadInput: as many weights as parents are needed.
    """
    if recipe.weights and len(recipe.weights) != parents:
        raise BadInput(f"the merge has {parents} parents, but `weights` has {len(recipe.weights)} entries")
    return list(recipe.weights) or [1 / parents] * parents


def merged_tensors(
    recipe: MergeRecipe, base: Mapping[str, torch.Tensor], deltas: list[Delta], layers: int
) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, tensor in the base's dtype) of every tensor that some parent changed, by name.

    Every other tensor is that of the base under each method.

    Raises:
        BadInput: slerp with other than two parents, or a parent of another shape.
    """
    if recipe.method == "slerp" and len(deltas) != 2:
        raise BadInput(f"slerp merges two parents, not {len(deltas)}; allowed for more: dare-ties, linear")
    weights = parent_weights(recipe, len(deltas))
    for name in sorted(set().union(*(delta.names() for delta in deltas))):
        if name not in base:
            raise BadInput(f"a parent changes {name!r}, which the base does not have")
        tensor = base[name]
        changes = [delta.of(name, tensor) for delta in deltas]
        yield name, _merge(recipe, name, tensor, changes, weights=weights, layers=layers).to(tensor.dtype)


def tensors_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """The sha256 of names, dtypes and contents (hexadecimal)."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\n".encode())
        digest.update(tensor.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _merge(
    recipe: MergeRecipe,
    name: str,
    base: torch.Tensor,
    deltas: list[torch.Tensor],
    *,
    weights: list[float],
    layers: int,
) -> torch.Tensor:
    if recipe.method == "slerp":
        t = recipe.interpolation
        if recipe.layered:
            t = layered_interpolation(name, layers, t)
        return slerp(base.float() + deltas[0], base.float() + deltas[1], t)
    if recipe.method == "linear":
        return linear(base, deltas, weights)
    generators = [_generator(recipe.seed, name, place) for place in range(len(deltas))]
    return dare_ties(
        base,
        deltas,
        weights,
        density=recipe.density,
        scale=recipe.scale,
        normalize=recipe.normalize,
        generators=generators,
    )


def _generator(seed: int, name: str, parent: int) -> torch.Generator:
    """Each parent's mask of each tensor has a stream of its own, so the order of merging does not matter."""
    return torch.Generator().manual_seed(derive_seed(seed, f"merge/{name}/{parent}"))


def dense_tensors(model: Any) -> dict[str, torch.Tensor]:
    """The parameters of a base by name, quantized ones dequantized (4-bit by bitsandbytes) to the model's
    dtype.
    """
    return {name: _dense(parameter, model.dtype) for name, parameter in model.named_parameters()}


def _dense(parameter: Any, dtype: torch.dtype) -> torch.Tensor:
    state = getattr(parameter, "quant_state", None)
    if state is not None:
        from bitsandbytes.functional import dequantize_4bit

        dense: torch.Tensor = dequantize_4bit(parameter.data, state)
        return dense.to(dtype)
    scales = getattr(parameter, "SCB", None)
    if scales is not None:
        scaled: torch.Tensor = parameter.data.float() * scales.float().view(-1, 1) / 127
        return scaled.to(dtype)
    tensor: torch.Tensor = parameter.data
    return tensor
