"""Rank correlation with an interval. scipy is imported by the first call."""

from collections.abc import Sequence
from math import atanh, inf, nan, sqrt, tanh

from results.statistics.intervals import CONFIDENCE, Interval, quantile


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
    reach = quantile(inf, confidence) * stderr
    return Interval(found, tanh(atanh(found) - reach), tanh(atanh(found) + reach), n, stderr, inf)
