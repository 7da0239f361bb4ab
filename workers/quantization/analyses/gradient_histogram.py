"""The distribution of output gradients: histograms, and what of them is lost as zero (section 7.3)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from results.records import MetricRow
from workers.context import metric
from workers.quantization.analyses.findings import Findings, layer_rows, series
from workers.quantization.analyses.subject import Batch, Subject
from workers.quantization.analyses.watching import watched_gradients
from workers.quantization.rounding import Dice
from workers.quantization.uniform import uniform_quantizer
from workers.specs.analyze import AnalyzeRecipe
from workers.specs.quantized import GradientQuantizer

TASK = "gradient_histogram"
PUBLISHED = {
    "zero_codes_8_row": GradientQuantizer(bits=8, axis="row"),
    "zero_codes_8_tensor": GradientQuantizer(bits=8, axis="tensor"),
    "zero_codes_4_row": GradientQuantizer(bits=4, axis="row"),
}
"""The study's gradient quantizers: what each would make zero of the gradients of any arm."""
OWN = "zero_codes"


class Gradients:
    """Counts of one layer's output gradients G = dL/dY; `histogram` is of the first mini-batch."""

    def __init__(self, quantizers: Mapping[str, Callable[[Tensor], Tensor]], bins: int) -> None:
        self._quantizers, self._bins = quantizers, bins
        self.entries = 0
        self.zeros = dict.fromkeys(("zeros", *quantizers), 0)
        self.largest = 0.0
        self.histogram: list[int] = []

    def add(self, batch: Batch, gradient: Tensor) -> None:
        """Count a gradient (rows, length, features) in."""
        values = batch.tokens(gradient)
        self.entries += values.numel()
        self.zeros["zeros"] += zeros(values)
        for name, quantizer in self._quantizers.items():
            self.zeros[name] += zeros(quantizer(values))
        if not self.histogram:
            self.largest = float(values.abs().max())
            self.histogram = counts(values, self.largest, self._bins)

    @property
    def shares(self) -> dict[str, float]:
        """The share of zeros in G, and in `Qg(G)` of each quantizer."""
        return {name: count / self.entries for name, count in self.zeros.items()}


def measure(subject: Subject, recipe: AnalyzeRecipe) -> Findings:
    """The share of exact zeros in G (primary) and of zeros in `Qg(G)`, over all entries and by layer.

    `range.<layer>` is the largest |G|: the curve's bins are equal parts of -range … range.
    """
    found = {name: Gradients(_quantizers(subject, name), recipe.bins) for name in subject.layers}
    for batch in subject.batches:
        with watched_gradients(
            subject.layers,
            lambda name, gradient, batch=batch: found[name].add(batch, gradient),  # type: ignore[misc]
        ):
            subject.differentiate(batch)
    subject.model.zero_grad(set_to_none=True)
    names = ("zeros", *PUBLISHED, *([OWN] if subject.quantization.gradients is not None else []))
    rows = [row for name in names for row in _share_rows(name, found)]
    ranges = {layer: each.largest for layer, each in found.items()}
    curves = [row for layer, each in found.items() for row in series(TASK, layer, each.histogram)]
    return Findings([*rows, *layer_rows(TASK, "range", ranges)], curves)


def zeros(values: Tensor) -> int:
    """How many entries are 0."""
    return int((values == 0).sum())


def counts(values: Tensor, largest: float, bins: int) -> list[int]:
    """How many entries lie in each of `bins` equal parts of [-largest, largest]."""
    if largest == 0:
        return [0] * bins
    places = ((values.flatten().double() / largest + 1) * (bins / 2)).long().clamp_(0, bins - 1)
    found: list[int] = torch.bincount(places, minlength=bins).tolist()
    return found


def _quantizers(subject: Subject, layer: str) -> dict[str, Callable[[Tensor], Tensor]]:
    """The published ones, and the layer's own where it rounds gradients. None of them draws from the subject's dice."""
    dice = Dice(0)
    found: dict[str, Callable[[Tensor], Tensor]] = {
        name: uniform_quantizer(each, dice) for name, each in PUBLISHED.items()
    }
    own, module = subject.quantization.gradients, subject.layers[layer]
    if own is not None:
        scheme: Any = module.scheme
        found[OWN] = replace(scheme, gradient=uniform_quantizer(own, dice)).gradient_of
    return found


def _share_rows(name: str, found: Mapping[str, Gradients]) -> list[MetricRow]:
    entries = sum(each.entries for each in found.values())
    whole = sum(each.zeros[name] for each in found.values()) / entries
    shares = {layer: each.shares[name] for layer, each in found.items()}
    primary = name == "zeros"
    return [
        metric(TASK, whole, metric=name, n=entries, unit="share", primary=primary),
        *layer_rows(TASK, name, shares, "share"),
    ]
