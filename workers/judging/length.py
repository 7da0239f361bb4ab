"""What the win rate would be if both answers were equally long."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from scipy.special import expit

from workers.evaluation.statistics import Estimate, clustered_mean

PENALTY = 0.01
"""Weight, by item, of the squared coefficient of length; keeps it finite where length alone decides."""
STEPS = 100
Array = np.ndarray[Any, Any]


def length_controlled(
    values: Sequence[float], differences: Sequence[float], clusters: Sequence[Hashable]
) -> Estimate:
    """The win rate at equal lengths (Dubois et al., arXiv 2404.04475, section 3).

    `values` in 0 … 1 are what items count, `differences` by how many characters the judged answer is longer. Fitted is
    `P(win) = sigmoid(a + b tanh(difference / s))`, s the standard deviation of the differences; the estimate is
    `sigmoid(a)`. Their further term, the difficulty of each instruction, takes the verdicts on other models to fit and
    is left out. The standard error is by the delta method from the sandwich estimator, clustered.

    Where all answers differ alike in length, or all values are 0 or all 1, it is the mean.
    """
    target, lengths = np.asarray(values, float), np.asarray(differences, float)
    spread = float(lengths.std()) if len(lengths) else 0.0
    if spread == 0 or target.min() == 1 or target.max() == 0:
        return clustered_mean(values, clusters)
    design = np.column_stack([np.ones(len(target)), np.tanh(lengths / spread)])
    coefficients = _fit(design, target)
    rate = float(expit(coefficients[0]))
    errors = _covariance(design, target, coefficients, clusters)
    return Estimate(rate, rate * (1 - rate) * float(np.sqrt(errors[0, 0])), len(target))


def _fit(design: Array, target: Array) -> Array:
    """Coefficients of the penalised logistic regression, by Newton's method with halved steps."""
    coefficients = np.zeros(design.shape[1])
    loss = _loss(design, target, coefficients)
    for _ in range(STEPS):
        step = np.linalg.solve(_curvature(design, coefficients), _slope(design, target, coefficients))
        share = 1.0
        while _loss(design, target, coefficients - share * step) > loss and share > 1e-8:
            share /= 2
        coefficients = coefficients - share * step
        loss = _loss(design, target, coefficients)
        if np.abs(share * step).max() < 1e-10:
            break
    return coefficients


def _penalty(design: Array) -> Array:
    return np.array([0.0, 2 * PENALTY * len(design)])


def _loss(design: Array, target: Array, coefficients: Array) -> float:
    logits = design @ coefficients
    penalty = float((_penalty(design) * coefficients**2).sum()) / 2
    return float((np.logaddexp(0, logits) - target * logits).sum()) + penalty


def _slope(design: Array, target: Array, coefficients: Array) -> Array:
    slope: Array = design.T @ (expit(design @ coefficients) - target) + _penalty(design) * coefficients
    return slope


def _curvature(design: Array, coefficients: Array) -> Array:
    rates = expit(design @ coefficients)
    curvature: Array = (design * (rates * (1 - rates))[:, None]).T @ design + np.diag(_penalty(design))
    return curvature


def _covariance(design: Array, target: Array, coefficients: Array, clusters: Sequence[Hashable]) -> Array:
    """The sandwich estimator with one score for each cluster, corrected by G / (G - 1)."""
    scores = design * (target - expit(design @ coefficients))[:, None]
    numbers = {key: place for place, key in enumerate(dict.fromkeys(clusters))}
    owner = [numbers[key] for key in clusters]
    sums = np.column_stack([np.bincount(owner, weights=column) for column in scores.T])
    inverse = np.linalg.inv(_curvature(design, coefficients))
    correction = len(numbers) / max(len(numbers) - 1, 1)
    covariance: Array = correction * inverse @ sums.T @ sums @ inverse
    return covariance
