"""How far the weight gradients are from those in full precision (section 7.3)."""

import math
from collections import defaultdict

import torch
from torch import Tensor

from workers.quantization.analyses.findings import Findings, mean_rows
from workers.quantization.analyses.subject import Batch, Subject
from workers.quantization.layers import without_quantizers
from workers.specs.analyze import AnalyzeRecipe

TASK = "gradient_fidelity"
NAMES = ("cosine", "norm_ratio", "l1", "l2")


def measure(subject: Subject, recipe: AnalyzeRecipe) -> Findings:
    """By layer and on average over layers, each the mean over mini-batches; see `compared`.

    There is nothing to find where no linear layer is quantized.
    """
    if not subject.quantization.linear:
        return Findings([])
    sums: dict[str, dict[str, float]] = {name: defaultdict(float) for name in NAMES}
    for batch in subject.batches:
        quantized = weight_gradients(subject, batch)
        with without_quantizers(subject.model):
            plain = weight_gradients(subject, batch)
        for layer in subject.layers:
            for name, value in compared(quantized[layer], plain[layer]).items():
                sums[name][layer] += value / len(subject.batches)
    rows = [row for name in NAMES for row in mean_rows(TASK, name, sums[name], primary=name == "cosine")]
    return Findings(rows)


def weight_gradients(subject: Subject, batch: Batch) -> dict[str, Tensor]:
    """The gradient of a mini-batch's loss by the weight of every linear layer."""
    subject.differentiate(batch)
    found = {name: layer.weight.grad for name, layer in subject.layers.items()}
    subject.model.zero_grad(set_to_none=True)
    return {name: gradient for name, gradient in found.items() if isinstance(gradient, Tensor)}


def compared(quantized: Tensor, plain: Tensor) -> dict[str, float]:
    """Of a gradient q and that in full precision p: `q.p / (|q| |p|)`, `|q| / |p|`, `|q - p|_1` and `|q - p|_2`.

    A cosine with a vector of zeros is 0, and a ratio to one is infinite, or 1 between two of them.
    """
    first, second = quantized.double().flatten(), plain.double().flatten()
    norms = float(first.norm()), float(second.norm())
    product = norms[0] * norms[1]
    difference = first - second
    return {
        "cosine": float(torch.dot(first, second)) / product if product else 0.0,
        "norm_ratio": norms[0] / norms[1] if norms[1] else (math.inf if norms[0] else 1.0),
        "l1": float(difference.abs().sum()),
        "l2": float(difference.norm()),
    }
