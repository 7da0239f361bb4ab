"""Plans of seeds against simulations of what they promise."""

from math import inf, isnan

import numpy as np
import pytest
from scipy import stats

from results.statistics import equivalence_p, mean_interval
from results.statistics.power import (
    MOST_SEEDS,
    POWER,
    cautious_spread,
    equivalence_power,
    seeds_for_equality,
    seeds_for_sign,
    sign_power,
    spread,
)

SEEN = mean_interval([0.01, 0.05, -0.02, 0.03, 0.02])


def draws(mean: float, deviation: float, n: int, count: int = 4000):
    return np.random.default_rng(1).normal(mean, deviation, (count, n)).tolist()


@pytest.mark.parametrize(("n", "distance"), [(5, 1.5), (12, 0.8), (40, 0.45)])
def test_the_power_of_a_sign_is_what_a_simulation_gives(n: int, distance: float) -> None:
    decided = np.mean([mean_interval(row).low > 0 for row in draws(distance, 1.0, n)])
    assert sign_power(n, distance, 1.0) == pytest.approx(decided, abs=0.025)


@pytest.mark.parametrize(("n", "mean", "margin"), [(8, 0.0, 1.0), (20, 0.3, 1.0), (5, 0.0, 1.0)])
def test_the_power_of_equality_is_what_a_simulation_gives(n: int, mean: float, margin: float) -> None:
    decided = np.mean([equivalence_p(mean_interval(row), margin) < 0.05 for row in draws(mean, 1.0, n)])
    assert equivalence_power(n, mean, 1.0, margin) == pytest.approx(decided, abs=0.025)


def test_the_fewest_seeds_have_the_power_and_one_fewer_has_not() -> None:
    n = seeds_for_sign(SEEN, 0.0, spread(SEEN))
    assert (
        sign_power(int(n) - 1, SEEN.mean, spread(SEEN)) < POWER <= sign_power(int(n), SEEN.mean, spread(SEEN))
    )
    m = seeds_for_equality(SEEN, 0.05, spread(SEEN))
    powers = [equivalence_power(int(m) - less, SEEN.mean, spread(SEEN), 0.05) for less in (1, 0)]
    assert powers[0] < POWER <= powers[1]


def test_the_spread_is_that_of_the_seeds_and_its_bound_covers() -> None:
    values = [0.01, 0.05, -0.02, 0.03, 0.02]
    assert spread(SEEN) == pytest.approx(np.std(values, ddof=1))
    bounds = [cautious_spread(mean_interval(row)) for row in draws(0, 1.0, 5, 2000)]
    assert np.mean(np.asarray(bounds) > 1.0) == pytest.approx(0.8, abs=0.03)
    assert isnan(spread(mean_interval([1.0]))) and isnan(cautious_spread(mean_interval([1.0])))


def test_caution_asks_for_more_seeds_and_a_farther_bound_for_fewer() -> None:
    assert seeds_for_sign(SEEN, 0.0, cautious_spread(SEEN)) > seeds_for_sign(SEEN, 0.0, spread(SEEN))
    assert seeds_for_sign(SEEN, -0.1, spread(SEEN)) < seeds_for_sign(SEEN, 0.0, spread(SEEN))


def test_outside_the_margin_it_is_a_difference_that_can_be_shown() -> None:
    assert seeds_for_equality(SEEN, 0.01, spread(SEEN)) == seeds_for_sign(SEEN, 0.0, spread(SEEN))


def test_no_number_of_seeds_decides_what_is_too_close() -> None:
    assert seeds_for_sign(mean_interval([0.1, -0.1]), 0.0, 1.0) == inf
    assert seeds_for_sign(mean_interval([0.001, 0.0]), 0.0, 1.0) == inf
    assert sign_power(MOST_SEEDS, 0.0005, 1.0) < POWER
    assert sign_power(1, 1.0, 1.0) == equivalence_power(1, 0.0, 1.0, 1.0) == 0.0


def test_no_spread_decides_at_two_seeds() -> None:
    sure = mean_interval([0.2, 0.2])
    assert seeds_for_sign(sure, 0.0, 0.0) == seeds_for_equality(sure, 0.3, 0.0) == 2


def test_a_known_plan() -> None:
    """Cohen's tables: one sample, d = 0.5, two-sided 5 %, power 80 %: 34."""
    assert seeds_for_sign(mean_interval([0.5, 0.5]), 0.0, 1.0) == 34
    assert stats.norm.ppf(0.975) < 2
