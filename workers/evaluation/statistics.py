"""Estimates with analytic standard errors; none is resampled."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A figure, its standard error (None where one item gives none) and the number of items behind it."""

    value: float | None
    stderr: float | None
    n: int


def mean(values: Sequence[float]) -> Estimate:
    """Mean of independent items; standard error `s / sqrt(n)` with `s` of n - 1 degrees of freedom."""
    return clustered_mean(values, range(len(values)))


def clustered_mean(values: Sequence[float], clusters: Sequence[Hashable]) -> Estimate:
    """Mean of items that come in clusters, such as several pairs on one prompt.

    Standard error `sqrt(G / (G - 1) sum_g (sum_{i in g} (x_i - mean))^2) / n` for G clusters (Liang and Zeger
    1986); with one item a cluster it is the ordinary one.
    """
    return ratio(values, [1.0] * len(values), clusters)


def ratio(
    numerators: Sequence[float], denominators: Sequence[float], clusters: Sequence[Hashable] | None = None
) -> Estimate:
    """`sum(numerators) / sum(denominators)`, such as nats per token over documents, by linearisation.

    `n` counts items, not their denominators.
    """
    n = len(numerators)
    total = float(np.sum(np.asarray(denominators, dtype=np.float64)))
    if n == 0 or total == 0:
        return Estimate(None, None, n)
    upper = np.asarray(numerators, dtype=np.float64)
    value = float(upper.sum() / total)
    residuals = upper - value * np.asarray(denominators, dtype=np.float64)
    return Estimate(value, _ratio_error(residuals, clusters, total), n)


def _ratio_error(
    residuals: "np.ndarray[Any, Any]", clusters: Sequence[Hashable] | None, total: float
) -> float | None:
    numbers: dict[Hashable, int] = {}
    keys = range(len(residuals)) if clusters is None else clusters
    owner = [numbers.setdefault(key, len(numbers)) for key in keys]
    groups = len(numbers)
    if groups < 2:
        return None
    sums = np.bincount(owner, weights=residuals)
    return float(np.sqrt(groups / (groups - 1) * np.sum(sums**2)) / total)
