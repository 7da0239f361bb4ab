"""Intervals for means over seeds: an estimate, its bounds, and what they rest on.

All intervals are two-sided. A bound that the data cannot give (one value has no spread) is NaN, never a guess.
scipy is imported by the first call that needs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan, sqrt

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence bounds.

    `n` counts the values behind it, `df` are the degrees of freedom of its t quantile (infinite for a normal
    one). Invariant: low <= mean <= high, or both bounds are NaN.
    """

    mean: float
    low: float
    high: float
    n: int
    stderr: float = nan
    df: float = nan

    @property
    def known(self) -> bool:
        """Whether the data gave bounds."""
        return isfinite(self.low) and isfinite(self.high)

    @property
    def half_width(self) -> float:
        """Half the width of a symmetric interval."""
        return (self.high - self.low) / 2

    def excludes(self, value: float) -> bool:
        """Whether `value` lies outside; unknown bounds exclude nothing."""
        return self.low > value or self.high < value


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Student's interval for the mean of independent normal values: `mean ± t(n - 1) s / sqrt(n)`.

    Exact at any n from 2 on for normal values, so also at five seeds. One value gives no bounds.

    Raises:
        ValueError: there is no value.
    """
    n, mean, stderr = _moments(values)
    return t_interval(mean, stderr, n - 1, n, confidence)


def combined_interval(
    values: Sequence[float],
    stderrs: Sequence[float | None],
    items: float | None = None,
    confidence: float = CONFIDENCE,
) -> Interval:
    """The mean over runs (seeds) that answered the same items, with both the runs and the items at random.

    With k runs of standard errors `e_r` (over items, clustered) and standard deviation `s` over runs, the
    variance is `A + B`, `A = mean(e_r^2)` and `B = s^2 / k`. A is the items' part: all runs share them, so their
    error does not shrink with more runs. B is the seeds'. What items and runs do together is in both parts, so
    the interval covers at least what it says. The quantile is Cochran's `(A t_A + B t_B) / (A + B)`, t_A of
    `items - 1` (normal without `items`) and t_B of `k - 1` degrees of freedom (Cochran and Cox, Experimental
    Designs, 1950, section 4.14): it keeps its coverage at two seeds, where Satterthwaite's falls to 0.89. `df`
    is the smaller of the two. One run has its own standard error alone; runs without any fall back on
    `mean_interval`. Why errors over items belong into the comparison of models: Miller, arXiv 2411.00640.

    Raises:
        ValueError: there is no value.
    """
    n, mean, seeds = _moments(values)
    known = [float(error) for error in stderrs if error is not None and isfinite(error)]
    if not known:
        return mean_interval(values, confidence)
    parts = [(float(np.mean(np.square(known))), items - 1 if items else inf)]
    parts += [(seeds**2, n - 1)] if n > 1 and seeds > 0 else []
    total = sum(variance for variance, _ in parts)
    if min(df for _, df in parts) <= 0:
        return mean_interval(values, confidence)
    if total == 0:
        return Interval(mean, mean, mean, n, 0.0, parts[0][1])
    cochran = sum(variance * quantile(df, confidence) for variance, df in parts) / total
    reach = cochran * sqrt(total)
    return Interval(mean, mean - reach, mean + reach, n, sqrt(total), min(df for _, df in parts))


def best_interval(
    candidate: Sequence[float], others: Sequence[Sequence[float]], confidence: float = CONFIDENCE
) -> Interval:
    """How far `candidate` is above the best of `others`, corrected for that one being selected from several.

    Values are paired by position (seed). Simultaneous intervals of the differences to each of the others, by
    Bonferroni, have minima that bound `mu_candidate - max_j mu_j` at the confidence (multiple comparisons with
    the best: Hsu 1984). The mean is the smallest mean difference; `stderr` and `df` are that difference's.

    Raises:
        ValueError: there are no others.
    """
    if not others:
        raise ValueError("the best of one: there is nothing to compare with")
    each = 1 - (1 - confidence) / len(others)
    found = [mean_interval(np.subtract(candidate, other).tolist(), each) for other in others]
    closest = min(found, key=lambda one: one.mean)
    low, high = min(one.low for one in found), min(one.high for one in found)
    return Interval(closest.mean, low, high, closest.n, closest.stderr, closest.df)


def _moments(values: Sequence[float]) -> tuple[int, float, float]:
    """Count, mean, and standard error of the mean; NaN for one value."""
    n = len(values)
    if n == 0:
        raise ValueError("the mean of no values")
    array = np.asarray(values, dtype=np.float64)
    return n, float(array.mean()), float(array.std(ddof=1) / sqrt(n)) if n > 1 else nan


def quantile(df: float, confidence: float) -> float:
    """The two-sided quantile of t."""
    from scipy import special

    return float(special.stdtrit(df, (1 + confidence) / 2))


def t_interval(mean: float, stderr: float, df: float, n: int, confidence: float = CONFIDENCE) -> Interval:
    """`mean ± t(df) stderr`; without bounds where there are no degrees of freedom."""
    if not isfinite(stderr) or df <= 0:
        return Interval(mean, nan, nan, n, stderr, df)
    reach = quantile(df, confidence) * stderr
    return Interval(mean, mean - reach, mean + reach, n, stderr, df)
