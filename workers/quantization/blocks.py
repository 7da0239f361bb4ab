"""Which entries of a tensor share a scale (quantization study, section 4.2)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

GROUP = "group:"


@dataclass(frozen=True)
class Blocks:
    """A tensor seen so that the entries of one scaling group lie along `axes`.

    `join` brings a tensor of the shape of `values` back into the original shape.
    """

    values: Tensor
    axes: tuple[int, ...]
    join: Callable[[Tensor], Tensor]


def blocks(values: Tensor, axis: str) -> Blocks:
    """The scaling groups of a tensor: all of it (`tensor`), each row (all but the last index fixed), each column
    (all but the first index free), or `group:n` neighbours within a row, the last of which may be fewer.
    """
    if axis == "tensor":
        return Blocks(values, tuple(range(values.dim())), _same)
    if axis == "row":
        return Blocks(values, (-1,), _same)
    if axis == "column":
        return Blocks(values, (0,), _same)
    return _grouped(values, int(axis.removeprefix(GROUP)))


def _grouped(values: Tensor, size: int) -> Blocks:
    """Rows cut into groups; a short last group is filled with its last entry, which changes no extreme."""
    width = values.shape[-1]
    missing = -width % size
    if missing:
        values = torch.cat([values, values[..., -1:].expand(*values.shape[:-1], missing)], dim=-1)
    cut = values.reshape(*values.shape[:-1], -1, size)
    return Blocks(cut, (-1,), lambda found: found.flatten(-2)[..., :width])


def _same(values: Tensor) -> Tensor:
    return values
