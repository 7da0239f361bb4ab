"""Quantizers of optimizer states: the study's signed code and those without its defects (section 4.5)."""

from collections.abc import Callable

import torch
from torch import Tensor

from workers.quantization.blocks import blocks
from workers.quantization.rounding import Dice, Rounding, rounding_of
from workers.quantization.uniform import UniformQuantizer, linear_moment_levels
from workers.specs.quantized import MomentQuantizer

SMALLEST = torch.finfo(torch.float32).tiny
"""Stands for 0 below a logarithm."""


class LogarithmicQuantizer:
    """`Q(x) = s 2^(-q d)`, `q = round(clamp(log2(s / x) / d, 0, 2^b - 1))`, `s = max(max x, floor)`.

    The 2^b levels lie `d = octaves / (2^b - 1)` octaves apart. There is no level for 0: it becomes the least one.
    """

    def __init__(self, bits: int, axis: str, floor: float, octaves: float, rounding: Rounding) -> None:
        self.axis, self.floor = axis, floor
        self._last = (1 << bits) - 1
        self._distance = octaves / self._last
        self._rounding = rounding

    def __call__(self, values: Tensor) -> Tensor:
        """`Q(values)` in float32; entries are at least 0."""
        seen = blocks(values.detach().float(), self.axis)
        scale = torch.amax(seen.values, dim=seen.axes, keepdim=True).clamp_(min=max(self.floor, SMALLEST))
        codes = (scale / seen.values.clamp(min=SMALLEST)).log2_().div_(self._distance)
        codes = self._rounding(codes.clamp_(0, self._last))
        return seen.join(codes.mul_(-self._distance).exp2_().mul_(scale))


def moment_quantizer(recipe: MomentQuantizer, dice: Dice) -> Callable[[Tensor], Tensor]:
    """The quantizer of a recipe; stochastic rounding draws from `dice`."""
    rounding = rounding_of(recipe.rounding, dice)
    if recipe.code == "logarithmic":
        return LogarithmicQuantizer(recipe.bits, recipe.axis, recipe.floor, recipe.octaves, rounding)
    return UniformQuantizer(linear_moment_levels(recipe), recipe.axis, recipe.floor, rounding)
