"""Spherical and linear interpolation of weight tensors (alignment study, section 5)."""

from collections.abc import Sequence

import torch

NEARLY_PARALLEL = 0.9995
"""Cosine beyond which sin(omega) is too small to divide by, and the straight line is taken."""
ATTENTION_DEPTHS = (0.0, 0.5, 0.3, 0.7, 1.0)
MLP_DEPTHS = (1.0, 0.5, 0.7, 0.3, 0.0)


def slerp(first: torch.Tensor, second: torch.Tensor, t: float) -> torch.Tensor:
    """`sin((1-t) w)/sin(w) v0 + sin(t w)/sin(w) v1`, `w = arccos(<v0,v1> / (|v0||v1|))`, on the flattened
    tensors.

    Shoemake, SIGGRAPH 1985. A straight line where they are nearly parallel or one is zero; result in fp32.
    """
    v0, v1 = first.float(), second.float()
    norms = torch.linalg.vector_norm(v0) * torch.linalg.vector_norm(v1)
    cosine = torch.sum(v0 * v1) / norms if norms > 0 else torch.tensor(1.0)
    if cosine.abs() > NEARLY_PARALLEL:
        return (1 - t) * v0 + t * v1
    omega = torch.arccos(cosine.clamp(-1, 1))
    return (torch.sin((1 - t) * omega) * v0 + torch.sin(t * omega) * v1) / torch.sin(omega)


def linear(base: torch.Tensor, deltas: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """`theta_base + sum_i w_i delta_i`, in fp32: the weighted mean of the parents when weights sum to one."""
    merged = base.float().clone()
    for delta, weight in zip(deltas, weights, strict=True):
        merged += weight * delta.float()
    return merged


def layered_interpolation(name: str, layers: int, default: float) -> float:
    """The t of a tensor in the layered preset: self-attention and MLP move along the depth, the rest stays.

    `name` is a tensor's name such as `model.layers.3.mlp.up_proj.weight`; positions between the five given
    depths are interpolated.
    """
    parts = name.split(".")
    layer = next((int(part) for part in parts if part.isdigit()), None)
    if layer is None:
        return default
    if "self_attn" in parts or "attn" in parts:
        return _at_depth(ATTENTION_DEPTHS, layer, layers)
    return _at_depth(MLP_DEPTHS, layer, layers) if "mlp" in parts else default


def _at_depth(values: Sequence[float], layer: int, layers: int) -> float:
    place = layer / max(1, layers - 1) * (len(values) - 1)
    below = min(int(place), len(values) - 2)
    share = place - below
    return (1 - share) * values[below] + share * values[below + 1]
