"""Tests of hypotheses that intervals invert, and their correction for many comparisons.

scipy is imported by the first call that needs it.
"""

from collections.abc import Sequence
from math import isfinite, nan

from results.statistics.intervals import Interval


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
