"""Intervals, paired comparisons and tests for studies with a few seeds: what the studies' findings are made of.

All intervals are two-sided. A bound that the data cannot give (one value has no spread) is NaN, never a guess.
scipy is imported by the first call that needs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import atanh, inf, isfinite, nan, sqrt, tanh

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
    return _interval(mean, stderr, n - 1, n, confidence)


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
    quantile = sum(variance * _quantile(df, confidence) for variance, df in parts) / total
    reach = quantile * sqrt(total)
    return Interval(mean, mean - reach, mean + reach, n, sqrt(total), min(df for _, df in parts))


def two_sided_p(interval: Interval, value: float = 0.0) -> float:
    """The p-value of "the mean is `value`", of the t-test that `interval` inverts; NaN without a spread."""
    from scipy import special

    if not isfinite(interval.stderr):
        return nan
    if interval.stderr == 0:
        return 1.0 if interval.mean == value else 0.0
    return float(2 * special.stdtr(interval.df, -abs(interval.mean - value) / interval.stderr))


def equivalence_p(interval: Interval, margin: float) -> float:
    """The p-value of two one-sided t-tests (Schuirmann 1987) of "the mean is not within ±`margin`".

    Below 0.05 the 90 % interval lies inside the margins: the two are equal for the purpose that the margin
    states. NaN without a spread.

    Raises:
        ValueError: the margin is not positive.
    """
    from scipy import special

    if not margin > 0:
        raise ValueError(f"an equivalence margin must be positive, not {margin:g}")
    if not isfinite(interval.stderr):
        return nan
    if interval.stderr == 0:
        return 0.0 if abs(interval.mean) < margin else 1.0
    return float(special.stdtr(interval.df, (abs(interval.mean) - margin) / interval.stderr))


def holm(pvalues: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): adjusted p-values in the given order.

    They hold the family-wise error rate whatever the tests' dependence. NaN stays NaN and is not counted.
    """
    known = sorted((p, place) for place, p in enumerate(pvalues) if isfinite(p))
    adjusted, largest = [nan] * len(pvalues), 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        adjusted[place] = largest
    return adjusted


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


def rank_correlation(
    first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE
) -> Interval:
    """Spearman's rank correlation of paired values, with Bonett and Wright's interval (2000).

    On Fisher's scale the standard error is `sqrt((1 + r^2 / 2) / (n - 3))`, and `stderr` is on that scale; four
    pairs or more have bounds, NaN stands for a correlation that does not exist (all values equal).

    Raises:
        ValueError: fewer than two pairs.
    """
    from scipy import stats

    n = len(first)
    if n < 2:
        raise ValueError("a correlation needs two pairs or more")
    constant = len(set(first)) == 1 or len(set(second)) == 1
    found = nan if constant else float(stats.spearmanr(first, second).statistic)
    if constant or n < 4 or abs(found) > 1 - 1e-12:
        return Interval(found, nan, nan, n)
    stderr = sqrt((1 + found**2 / 2) / (n - 3))
    reach = _quantile(inf, confidence) * stderr
    return Interval(found, tanh(atanh(found) - reach), tanh(atanh(found) + reach), n, stderr, inf)


def _moments(values: Sequence[float]) -> tuple[int, float, float]:
    """Count, mean, and standard error of the mean; NaN for one value."""
    n = len(values)
    if n == 0:
        raise ValueError("the mean of no values")
    array = np.asarray(values, dtype=np.float64)
    return n, float(array.mean()), float(array.std(ddof=1) / sqrt(n)) if n > 1 else nan


def _quantile(df: float, confidence: float) -> float:
    """The two-sided quantile of t."""
    from scipy import special

    return float(special.stdtrit(df, (1 + confidence) / 2))


def _interval(mean: float, stderr: float, df: float, n: int, confidence: float) -> Interval:
    if not isfinite(stderr) or df <= 0:
        return Interval(mean, nan, nan, n, stderr, df)
    reach = _quantile(df, confidence) * stderr
    return Interval(mean, mean - reach, mean + reach, n, stderr, df)
