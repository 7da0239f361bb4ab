"""Outliers: channels and tokens of linear inputs, and channels of weights, that stand out (section 7.3)."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from results.records import MetricRow
from workers.context import metric
from workers.quantization.analyses.findings import Findings, layer_rows, series
from workers.quantization.analyses.subject import Batch, Subject, weight_of
from workers.quantization.analyses.watching import watched
from workers.specs.analyze import AnalyzeRecipe

TASK = "outliers"
Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


class Magnitudes:
    """Mean `|x|` of one layer's inputs, by channel and by token, gathered over mini-batches."""

    def __init__(self) -> None:
        self._sums: Array | None = None
        self._tokens: list[Array] = []
        self._positions: list[Array] = []

    def add(self, batch: Batch, inputs: Tensor) -> None:
        """Count inputs (rows, length, channels) in."""
        values = inputs.detach().abs()
        tokens = batch.tokens(values)
        sums = _array(tokens.sum(0, dtype=torch.float64))
        self._sums = sums if self._sums is None else self._sums + sums
        self._tokens.append(_array(tokens.mean(-1)))
        places = torch.arange(values.shape[1], device=values.device).expand(values.shape[:2])
        self._positions.append(_array(batch.tokens(places[..., None])[:, 0]))

    @property
    def tokens(self) -> Array:
        """Mean `|x|` of every token."""
        return np.concatenate(self._tokens)

    @property
    def channels(self) -> Array:
        """Mean `|x|` of every channel."""
        assert self._sums is not None
        return self._sums / len(self.tokens)

    @property
    def positions(self) -> Array:
        """Mean `|x|` at each place in the sequence."""
        places = np.concatenate(self._positions).astype(np.int64)
        return np.bincount(places, weights=self.tokens) / np.bincount(places)


def measure(subject: Subject, recipe: AnalyzeRecipe) -> Findings:
    """How many channels (primary) and tokens of linear inputs, and input features of weights, are flagged.

    `peak` says how many standard deviations above the mean the largest channel is. The curves hold the magnitudes.
    """
    found = magnitudes(subject)
    weights = {
        name: _array(weight_of(layer).detach().abs().double().mean(0))
        for name, layer in subject.layers.items()
    }
    channels = {name: each.channels for name, each in found.items()}
    tokens = {name: each.tokens for name, each in found.items()}
    peaks = {name: float(standing(values).max()) for name, values in channels.items()}
    rows = [
        *_counts("channels", channels, recipe.deviations, "channels", primary=True),
        *_counts("tokens", tokens, recipe.deviations, "tokens"),
        *_counts("weight_channels", weights, recipe.deviations, "channels"),
        metric(TASK, max(peaks.values()), metric="peak", n=len(peaks), unit="deviations"),
        *layer_rows(TASK, "peak", peaks, "deviations"),
        *layer_rows(
            TASK, "peak_channel", {name: float(each.argmax()) for name, each in channels.items()}, "channel"
        ),
    ]
    curves = [
        row
        for name, each in found.items()
        for row in (
            *series("activation_channels", name, each.channels),
            *series("activation_tokens", name, each.positions),
        )
    ]
    return Findings(rows, curves)


@torch.no_grad()
def magnitudes(subject: Subject) -> dict[str, Magnitudes]:
    """Those of every linear layer's inputs, over all mini-batches, with the quantizers on."""
    found = {name: Magnitudes() for name in subject.layers}
    for batch in subject.batches:
        with watched(subject.layers, lambda name, inputs, _, batch=batch: found[name].add(batch, inputs)):  # type: ignore[misc]
            subject.loss(batch)
    return found


def standing(values: Array) -> Array:
    """How many (population) standard deviations each magnitude is above their mean; 0 where all are equal."""
    deviation = values.std()
    return (values - values.mean()) / deviation if deviation > 0 else np.zeros_like(values)


def flagged(values: Array, deviations: float) -> int:
    """How many magnitudes exceed their mean by more than so many standard deviations (six in the study)."""
    return int((standing(values) > deviations).sum())


def _counts(
    name: str, magnitudes: Mapping[str, Array], deviations: float, unit: str, primary: bool = False
) -> list[MetricRow]:
    counts = {layer: float(flagged(values, deviations)) for layer, values in magnitudes.items()}
    number = sum(len(values) for values in magnitudes.values())
    whole = metric(TASK, sum(counts.values()), metric=name, n=number, unit=unit, primary=primary)
    return [whole, *layer_rows(TASK, name, counts, unit)]


def _array(values: Tensor) -> Array:
    return values.double().cpu().numpy()
