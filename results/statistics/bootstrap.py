"""Bootstrap intervals, for what has no t interval and for samples that are large enough. scipy is imported late."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from results.statistics.intervals import CONFIDENCE, Interval

FEWEST = 20
"""Values from which on a bootstrap interval is given: at five, percentile intervals of a mean cover 84 %, not 95 %."""

DRAWS = 9999


def bootstrap_interval(
    values: Sequence[float],
    statistic: Callable[..., Any] = np.mean,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """The bias-corrected and accelerated interval (Efron 1987) of a `statistic` that takes an `axis`.

    Equal values and seeds give equal bounds. `stderr` is the bootstrap distribution's.

    Raises:
        ValueError: fewer than FEWEST values.
    """
    from scipy import stats

    n = len(values)
    if n < FEWEST:
        raise ValueError(f"a bootstrap of {n} values does not keep its coverage; it needs {FEWEST} or more")
    sample = np.asarray(values, np.float64)
    mean = float(statistic(sample, axis=0))
    if not np.ptp(sample):
        return Interval(mean, mean, mean, n, 0.0)
    found = stats.bootstrap(
        (sample,), statistic, n_resamples=DRAWS, confidence_level=confidence, method="BCa", rng=seed
    )
    bounds = found.confidence_interval
    return Interval(mean, float(bounds.low), float(bounds.high), n, float(found.standard_error))
