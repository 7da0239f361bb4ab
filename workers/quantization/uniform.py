"""Uniform quantizers: `Q(x) = (q + z) s` with `q = round(clamp(x / s - z, Qn, Qp))` (quantization study, 4.1).

Scales are dynamic: they are those of the tensor at hand. All of it is computed in float32, whatever the type of
the tensor: in bfloat16 `x / s` near half a code would be rounded twice.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from workers.quantization.blocks import Blocks, blocks
from workers.quantization.rounding import Dice, Rounding, rounding_of
from workers.specs.quantized import MomentQuantizer, Quantizer

TINY = 1e-30
"""A floor below this may leave a scale of 0."""


@dataclass(frozen=True)
class Coded:
    """A quantized tensor taken apart: `Q(x) = (codes + offset) scale`, broadcast over the blocks.

    `offset` is None where it is 0; `inside`, where asked for, marks what the clamp left as it was.
    """

    codes: Tensor
    offset: Tensor | None
    scale: Tensor
    inside: Tensor | None


class UniformQuantizer:
    """Rounds tensors to the levels `lowest … highest` of a scale for each of their blocks.

    The scale of a symmetric one is `s = max(max|x|, floor) / highest` with `z = 0`; of an asymmetric one
    `s = max(max x - min x, floor) / (2 highest)` with `z = round(min x / s - lowest)`.
    """

    def __init__(
        self,
        levels: tuple[int, int],
        axis: str,
        floor: float,
        rounding: Rounding,
        *,
        symmetric: bool = True,
    ) -> None:
        self.lowest, self.highest = levels
        self.axis, self.floor = axis, floor
        self._rounding, self._symmetric = rounding, symmetric

    def __call__(self, values: Tensor) -> Tensor:
        """`Q(values)` in float32."""
        return self.quantize(values)[0]

    def quantize(self, values: Tensor, *, mask: bool = False) -> tuple[Tensor, Tensor | None]:
        """`Q(values)` in float32, and with `mask` where the clamp left an entry as it was."""
        seen = blocks(values.detach().float(), self.axis)
        found = self._code(seen, mask)
        whole = found.codes if found.offset is None else found.codes.add_(found.offset)
        inside = None if found.inside is None else seen.join(found.inside)
        return seen.join(whole.mul_(found.scale)), inside

    def coded(self, values: Tensor) -> Coded:
        """Codes, offset and scale in the shape of the blocks: what would be stored."""
        return self._code(blocks(values.detach().float(), self.axis), mask=True)

    def _code(self, seen: Blocks, mask: bool) -> Coded:
        scale, offset = self._scale(seen)
        codes = seen.values / scale
        if offset is not None:
            codes.sub_(offset)
        inside = (codes >= self.lowest) & (codes <= self.highest) if mask else None
        return Coded(self._rounding(codes.clamp_(self.lowest, self.highest)), offset, scale, inside)

    def _scale(self, seen: Blocks) -> tuple[Tensor, Tensor | None]:
        """(s, z), with the blocks' axes kept at length 1; z is None where it is 0."""
        if self._symmetric:
            largest = torch.amax(seen.values.abs(), dim=seen.axes, keepdim=True)
            return self._step(largest, self.highest), None
        least = torch.amin(seen.values, dim=seen.axes, keepdim=True)
        largest = torch.amax(seen.values, dim=seen.axes, keepdim=True)
        spread = largest - least
        if self.floor < TINY:  # a constant block has no spread: then its value makes the scale
            spread = torch.where(spread > 0, spread, largest.abs())
        scale = self._step(spread, 2 * self.highest)
        return scale, (least / scale).sub_(self.lowest).round_()

    def _step(self, spread: Tensor, count: int) -> Tensor:
        """`max(spread, floor) / count`; 1 where that is 0, whose entries are then 0 too."""
        scale = spread.clamp_(min=self.floor).div_(count)
        return scale.masked_fill_(scale == 0, 1.0) if self.floor < TINY else scale


def signed_levels(bits: int) -> tuple[int, int]:
    """`Qn = -2^(b-1)`, `Qp = 2^(b-1) - 1`."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def uniform_quantizer(recipe: Quantizer, dice: Dice) -> UniformQuantizer:
    """The quantizer of a recipe; stochastic rounding draws from `dice`."""
    rounding = rounding_of(recipe.rounding, dice)
    return UniformQuantizer(
        signed_levels(recipe.bits), recipe.axis, recipe.floor, rounding, symmetric=recipe.symmetric
    )


def linear_moment_levels(recipe: MomentQuantizer) -> tuple[int, int]:
    """The levels of the three uniform codes of an optimizer state (section 4.5)."""
    count = 1 << recipe.bits
    known = {"signed": signed_levels(recipe.bits), "unsigned": (0, count - 1), "nonzero": (1, count)}
    return known[recipe.code]
