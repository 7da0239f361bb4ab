"""What the simulated arm would take if codes were stored and integers multiplied: projected, never measured."""

from math import ceil, prod
from typing import Any

from torch import nn

from results.records import MetricRow
from workers.context import metric
from workers.quantization.layers import linear_layers, transposed
from workers.quantization.optimizer import quantized_weights
from workers.specs.quantized import MomentQuantizer, QuantizedTraining, Quantizer, obstacles

FULL_BYTES = 4
"""Of an entry that is not quantized, and of a scale or offset: float32."""
TASK = "projected"


def projected_metrics(model: nn.Module, recipe: QuantizedTraining) -> list[MetricRow]:
    """Bytes of the linear layers' weights and of their two Adam states; how many of three products are integer ones."""
    layers = linear_layers(model, head=recipe.head).values()
    weights = sum(stored_bytes(_shape(layer.weight, transposed(layer)), recipe.weights) for layer in layers)
    states = sum(
        stored_bytes(_shape(weight, turned), moment)
        for weight, turned in quantized_weights(model, recipe)
        for moment in (recipe.first_moment, recipe.second_moment)
    )
    integer = sum(not reasons for reasons in obstacles(recipe).values())
    return [
        metric(TASK, weights, metric="weight_bytes", unit="bytes"),
        metric(TASK, states, metric="state_bytes", unit="bytes"),
        metric(TASK, integer, metric="integer_products", n=3, unit="products"),
    ]


def stored_bytes(shape: tuple[int, int], quantizer: Quantizer | MomentQuantizer | None) -> int:
    """Bytes of a matrix (rows, columns) as packed codes with their scales and offsets; as float32 without quantizer."""
    if quantizer is None:
        return FULL_BYTES * prod(shape)
    rows, columns = shape
    counts = {"tensor": 1, "row": rows, "column": columns}
    axis = quantizer.axis
    scales = counts[axis] if axis in counts else rows * ceil(columns / int(axis.partition(":")[2]))
    numbers = 2 if isinstance(quantizer, Quantizer) and not quantizer.symmetric else 1
    return ceil(prod(shape) * quantizer.bits / 8) + FULL_BYTES * scales * numbers


def _shape(weight: Any, turned: bool) -> tuple[int, int]:
    """(out, in) of a weight."""
    first, second = weight.shape
    return (second, first) if turned else (first, second)
