"""m-sharpness: how much the loss of a mini-batch rises a small step up its own gradient (section 7.3)."""

import torch
from torch import nn

from workers.context import metric
from workers.evaluation.statistics import mean
from workers.quantization.analyses.findings import Findings
from workers.quantization.analyses.subject import Batch, Subject
from workers.quantization.layers import without_quantizers
from workers.specs.analyze import AnalyzeRecipe

TASK = "sharpness"
SMALLEST = 1e-12
"""Added to the gradient's norm."""


def measure(subject: Subject, recipe: AnalyzeRecipe) -> Findings:
    """The mean of `S_B` over mini-batches with the quantizers on (primary) and off, `L_B(w)` and `|g|`.

    Without quantizers on the linear layers both are one figure.
    """
    found = [rise(subject, batch, recipe.radius) for batch in subject.batches]
    plain = found
    if subject.quantization.linear:
        with without_quantizers(subject.model):
            plain = [rise(subject, batch, recipe.radius) for batch in subject.batches]
    columns = zip(*found, strict=True)
    rises, losses, norms = (mean(list(column)) for column in columns)
    off = mean([each[0] for each in plain])
    return Findings(
        [
            metric(TASK, rises.value, metric=TASK, stderr=rises.stderr, n=rises.n, unit="nats", primary=True),
            metric(TASK, off.value, metric="unquantized", stderr=off.stderr, n=off.n, unit="nats"),
            metric(TASK, losses.value, metric="loss", stderr=losses.stderr, n=losses.n, unit="nats"),
            metric(TASK, norms.value, metric="gradient_norm", stderr=norms.stderr, n=norms.n),
        ]
    )


def rise(subject: Subject, batch: Batch, radius: float) -> tuple[float, float, float]:
    """`S_B = L_B(w + e) - L_B(w)` with `e = rho g / (|g|_2 + 1e-12)`, then `L_B(w)` and `|g|_2`, over all parameters.

    The gradient is that which the training sees: through the quantizers where they are on.
    """
    with subject.weights_kept():
        loss = subject.differentiate(batch)
        norm = _climb(subject.model, radius)
        with torch.no_grad():
            return float(subject.loss(batch)) - loss, loss, norm


@torch.no_grad()
def _climb(model: nn.Module, radius: float) -> float:
    """Move every parameter by its part of e; the norm of g."""
    moved = [(parameter, parameter.grad) for parameter in model.parameters() if parameter.grad is not None]
    norm = float(torch.stack([gradient.double().square().sum() for _, gradient in moved]).sum().sqrt())
    for parameter, gradient in moved:
        parameter.add_(gradient, alpha=radius / (norm + SMALLEST))
    return norm
