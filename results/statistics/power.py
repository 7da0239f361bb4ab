"""Power: how many seeds decide a question, if the mean and the spread seen so far are the true ones.

A spread seen over few seeds is itself uncertain, so a plan asks twice: with the spread as seen, and with its upper
80 % bound, by which a plan reaches its power in about four of five studies (Browne 1995). scipy is imported late.
"""

from collections.abc import Callable
from math import inf, isfinite, nan, sqrt

from results.statistics.intervals import CONFIDENCE, Interval, quantile

POWER = 0.8
"""The probability of a decision that a plan asks for."""

CAUTION = 0.8
"""The confidence of the upper bound of the spread in a cautious plan."""

MOST_SEEDS = 1000

LEVEL = 0.05


def spread(effect: Interval) -> float:
    """The standard deviation between replicates that `effect`, a mean of them, was made of; NaN if unknown."""
    return effect.stderr * sqrt(effect.n) if effect.n > 1 and isfinite(effect.stderr) else nan


def cautious_spread(effect: Interval, caution: float = CAUTION) -> float:
    """The upper bound of the standard deviation at confidence `caution`, of the chi-squared distribution."""
    from scipy import special

    return (
        spread(effect) * sqrt((effect.n - 1) / special.chdtri(effect.n - 1, caution)) if effect.n > 1 else nan
    )


def sign_power(n: int, distance: float, deviation: float, confidence: float = CONFIDENCE) -> float:
    """The probability that the interval of `n` values excludes a bound that the true mean is `distance` above.

    Of the noncentral t distribution, with n - 1 degrees of freedom and noncentrality `distance √n / deviation`.
    """
    from scipy import stats

    if n < 2:
        return 0.0
    if deviation == 0:
        return 1.0 if distance > 0 else 0.0
    return float(stats.nct.sf(quantile(n - 1, confidence), n - 1, distance * sqrt(n) / deviation))


def equivalence_power(n: int, mean: float, deviation: float, margin: float, level: float = LEVEL) -> float:
    """The probability that two one-sided t-tests of `n` values find the mean within ±`margin`.

    Exact: the normal probability of a mean inside the margins less the tests' reach, over the distribution of the
    spread (Phillips 1990, by quadrature over its quantiles).
    """
    import numpy as np
    from scipy import special

    if n < 2:
        return 0.0
    if deviation == 0:
        return 1.0 if abs(mean) < margin else 0.0
    probabilities = (np.arange(2000) + 0.5) / 2000
    spreads = np.sqrt(special.chdtri(n - 1, 1 - probabilities) / (n - 1)) * deviation
    room = margin - special.stdtrit(n - 1, 1 - level) * spreads / sqrt(n)
    error = deviation / sqrt(n)
    inside = special.ndtr((room - mean) / error) - special.ndtr((-room - mean) / error)
    return float(np.where(room > 0, inside, 0.0).mean())


def seeds_for_sign(effect: Interval, threshold: float, deviation: float, power: float = POWER) -> float:
    """How many seeds let the interval exclude `threshold` with probability `power`; infinite if too many."""
    distance = abs(effect.mean - threshold)
    return _fewest(lambda n: sign_power(n, distance, deviation), power) if distance > 0 else inf


def seeds_for_equality(effect: Interval, margin: float, deviation: float, power: float = POWER) -> float:
    """How many seeds show equality within `margin`, or else a difference, with probability `power`.

    Inside the margin it is equality that can be shown, outside it a difference from zero.
    """
    if abs(effect.mean) < margin:
        return _fewest(lambda n: equivalence_power(n, effect.mean, deviation, margin), power)
    return seeds_for_sign(effect, 0.0, deviation, power)


def _fewest(reached: Callable[[int], float], power: float) -> float:
    """The smallest number of seeds up to MOST_SEEDS with `power`, which grows with them; infinite if none has it."""
    if not reached(MOST_SEEDS) >= power:
        return inf
    low, high = 1, MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) >= power else (middle, high)
    return high
