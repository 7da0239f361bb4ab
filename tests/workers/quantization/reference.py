"""The study's equations in NumPy, group by group and without any of the code under test."""

from collections.abc import Iterator
from typing import Any

import numpy as np

ONE = np.float32(1)


def groups(shape: tuple[int, ...], axis: str) -> Iterator[Any]:
    """The index of every scaling group of a matrix."""
    rows, columns = shape
    if axis == "tensor":
        yield (slice(None), slice(None))
    elif axis == "row":
        yield from ((row, slice(None)) for row in range(rows))
    elif axis == "column":
        yield from ((slice(None), column) for column in range(columns))
    else:
        size = int(axis.split(":")[1])
        starts = range(0, columns, size)
        yield from ((row, slice(start, start + size)) for row in range(rows) for start in starts)


def levels(bits: int) -> tuple[int, int]:
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def scale_of(part: Any, bits: int, symmetric: bool, floor: float) -> tuple[Any, Any]:
    """s and z of one group, section 4.1."""
    lowest, highest = levels(bits)
    least = np.float32(floor)
    if symmetric:
        return np.maximum(np.abs(part).max(), least) / np.float32(highest), np.float32(0)
    s = np.maximum(part.max() - part.min(), least) / np.float32(2 * highest)
    return s, np.round(part.min() / s - np.float32(lowest))


def quantize(x: Any, bits: int, axis: str, symmetric: bool = True, floor: float = 1e-5) -> tuple[Any, Any]:
    """Q(x) and where the clamp cut nothing, each of x's shape, in float32."""
    x = np.asarray(x, np.float32)
    lowest, highest = levels(bits)
    values, inside = np.empty_like(x), np.empty(x.shape, bool)
    for index in groups(x.shape, axis):
        s, z = scale_of(x[index], bits, symmetric, floor)
        place = x[index] / s - z
        inside[index] = (place >= lowest) & (place <= highest)
        values[index] = (np.round(np.clip(place, lowest, highest)) + z) * s
    return values, inside


def moment(x: Any, bits: int, axis: str, code: str, floor: float) -> Any:
    """Q of an optimizer state, section 4.5."""
    x = np.asarray(x, np.float32)
    if code == "signed":
        return quantize(x, bits, axis, True, floor)[0]
    values = np.empty_like(x)
    for index in groups(x.shape, axis):
        least, most = (0, 2**bits - 1) if code == "unsigned" else (1, 2**bits)
        s = np.maximum(x[index].max(), np.float32(floor)) / np.float32(most)
        values[index] = np.clip(np.round(x[index] / s), least, most) * s
    return values


def linear(x: Any, w: Any, b: Any, g: Any, recipe: Any) -> dict[str, Any]:
    """Y, dX, dW and db of section 4.4, for any choice; shapes (n, in), (out, in), (out), (n, out)."""

    def rounded(quantizer: Any, values: Any) -> tuple[Any, Any]:
        if quantizer is None:
            return values, np.ones(values.shape, bool)
        return quantize(values, quantizer.bits, quantizer.axis, quantizer.symmetric, quantizer.floor)

    xq, x_inside = rounded(recipe.activations, x)
    wq, w_inside = rounded(recipe.weights, w)
    gq, _ = rounded(recipe.gradients, g)
    to_input = gq if recipe.gradient_products in ("input", "both") else g
    to_weight = gq if recipe.gradient_products in ("weight", "both") else g
    x_back, w_back = (xq, wq) if recipe.backward_operands == "quantized" else (x, w)
    dx, dw = to_input @ w_back, to_weight.T @ x_back
    if recipe.clamp_mask:
        dx, dw = dx * x_inside, dw * w_inside
    return {"y": xq @ wq.T + b, "dx": dx, "dw": dw, "db": g.sum(0)}


class Adam:
    """AdamW with quantized moments for one matrix, step by step."""

    def __init__(self, w: Any, first: Any, second: Any, **settings: float) -> None:
        self.w, self.first, self.second = w.astype(np.float64), first, second
        self.m = np.zeros_like(self.w)
        self.v = np.zeros_like(self.w)
        self.t = 0
        self.lr, self.b1, self.b2 = settings["lr"], settings["beta1"], settings["beta2"]
        self.eps, self.decay = settings["eps"], settings["weight_decay"]

    def step(self, g: Any) -> None:
        m, v = self.m, self.v
        if self.t > 0:
            m, v = self._rounded(self.first, m), self._rounded(self.second, v)
        self.t += 1
        self.w = self.w * (1 - self.lr * self.decay)
        self.m = self.b1 * m + (1 - self.b1) * g
        self.v = self.b2 * v + (1 - self.b2) * g * g
        unbiased = self.m / (1 - self.b1**self.t)
        self.w = self.w - self.lr * unbiased / (np.sqrt(self.v / (1 - self.b2**self.t)) + self.eps)

    @staticmethod
    def _rounded(recipe: Any, values: Any) -> Any:
        if recipe is None:
            return values
        return moment(values, recipe.bits, recipe.axis, recipe.code, recipe.floor).astype(np.float64)
