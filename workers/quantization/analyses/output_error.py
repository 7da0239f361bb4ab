"""How far the outputs of linear layers are from those in full precision (section 7.3)."""

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from results.records import MetricRow
from workers.quantization.analyses.findings import Findings, mean_rows
from workers.quantization.analyses.subject import Batch, Subject
from workers.quantization.analyses.watching import watched
from workers.quantization.layers import QUANTIZED, without_quantizers
from workers.specs.analyze import AnalyzeRecipe

TASK = "output_error"
NAMES = ("mse", "relative", "propagated_mse", "propagated_relative")


def measure(subject: Subject, recipe: AnalyzeRecipe) -> Findings:
    """By layer and on average over layers: `mse`, the mean of `(Yq - Y)^2`, with the same weights and mini-batches.

    `Y` is the output in full precision. `mse` (primary) gives the quantized layer the inputs of full precision, so
    that each layer stands for itself; `propagated_mse` lets the errors of all layers before it add up. `relative`
    ones are divided by the mean of `Y^2`. There is nothing to find where neither W nor A is rounded.
    """
    if subject.quantization.weights is None and subject.quantization.activations is None:
        return Findings([])
    sums: dict[str, dict[str, float]] = {name: defaultdict(float) for name in NAMES}
    for batch in subject.batches:
        for layer, errors in batch_errors(subject, batch).items():
            for name in NAMES:
                sums[name][layer] += errors[name] / len(subject.batches)
    rows = [row for name in NAMES for row in _rows(name, sums[name])]
    return Findings(rows)


@torch.no_grad()
def batch_errors(subject: Subject, batch: Batch) -> dict[str, dict[str, float]]:
    """Layer to its errors on one mini-batch."""
    outputs: dict[str, Tensor] = {}
    found: dict[str, dict[str, float]] = {}

    def alone(name: str, inputs: Tensor, output: Tensor) -> None:
        outputs[name] = batch.tokens(output)
        quantized = batch.tokens(quantized_output(subject.layers[name], inputs))
        found[name] = _errors(outputs[name], quantized, "")

    def together(name: str, inputs: Tensor, output: Tensor) -> None:
        found[name].update(_errors(outputs.pop(name), batch.tokens(output), "propagated_"))

    with without_quantizers(subject.model), watched(subject.layers, alone):
        subject.loss(batch)
    with watched(subject.layers, together):
        subject.loss(batch)
    return found


def quantized_output(layer: nn.Module, inputs: Tensor) -> Tensor:
    """What a layer whose quantizers are off would give with them on."""
    output: Tensor = QUANTIZED[type(layer)].forward(layer, inputs)
    return output


def _errors(plain: Tensor, quantized: Tensor, prefix: str) -> dict[str, float]:
    error = float((quantized.double() - plain.double()).square().mean())
    power = float(plain.double().square().mean())
    return {f"{prefix}mse": error, f"{prefix}relative": error / power if power else 0.0}


def _rows(name: str, values: Mapping[str, float]) -> list[MetricRow]:
    unit = "share" if name.endswith("relative") else ""
    return mean_rows(TASK, name, values, unit, primary=name == "mse")
