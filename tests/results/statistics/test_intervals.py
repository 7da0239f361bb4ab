"""Intervals and tests against scipy, hand-made numbers, and simulations of what they promise."""

from math import inf, isnan, nan

import numpy as np
import pytest
from scipy import stats

from results.statistics import (
    Interval,
    best_interval,
    combined_interval,
    equivalence_p,
    holm,
    mean_interval,
    rank_correlation,
    two_sided_p,
)

VALUES = [0.31, 0.35, 0.29, 0.4, 0.33]


def test_a_mean_interval_is_scipys() -> None:
    found, known = mean_interval(VALUES), stats.ttest_1samp(VALUES, 0.3)
    low, high = known.confidence_interval(0.95)
    assert (found.low, found.high, found.df, found.n) == pytest.approx((low, high, 4, 5))
    assert two_sided_p(found, 0.3) == pytest.approx(known.pvalue)
    assert found.half_width == pytest.approx((high - low) / 2)


def test_one_value_has_no_bounds_and_none_has_no_mean() -> None:
    alone = mean_interval([2.0])
    assert (alone.mean, alone.n, alone.known, alone.excludes(100.0)) == (2.0, 1, False, False)
    assert isnan(two_sided_p(alone)) and isnan(equivalence_p(alone, 1.0))
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


def test_a_combined_interval_by_hand() -> None:
    """Runs 1 and 3 with errors 3 and 4 over 11 items: 25/2 of the items, 1 of the seeds."""
    found = combined_interval([1.0, 3.0], [3.0, 4.0], items=11)
    quantile = (12.5 * stats.t.ppf(0.975, 10) + 1.0 * stats.t.ppf(0.975, 1)) / 13.5
    assert (found.mean, found.stderr**2, found.df) == pytest.approx((2.0, 13.5, 1))
    assert found.half_width == pytest.approx(quantile * 13.5**0.5)


def test_one_run_has_its_own_error_alone() -> None:
    found = combined_interval([0.5], [0.1], items=64)
    assert (found.df, found.n) == (63, 1)
    assert found.half_width == pytest.approx(0.1 * stats.t.ppf(0.975, 63))
    assert combined_interval([0.5], [0.1]).half_width == pytest.approx(0.196, abs=1e-4)


def test_runs_without_errors_have_the_spread_over_seeds() -> None:
    assert combined_interval(VALUES, [None] * 5) == mean_interval(VALUES)
    assert combined_interval(VALUES, [nan, nan, None, None, nan]) == mean_interval(VALUES)
    assert not combined_interval([0.5], [None]).known
    assert not combined_interval([0.5], [0.1], items=1).known


def test_no_error_at_all_is_an_interval_of_no_width() -> None:
    assert combined_interval([1.0], [0.0], 64) == Interval(1.0, 1.0, 1.0, 1, 0.0, 63)
    assert combined_interval([1.0, 1.0], [0.0, 0.0]).half_width == 0


def test_equal_runs_of_known_items_have_a_normal_interval() -> None:
    found = combined_interval([0.5, 0.5], [0.1, 0.1])
    assert found.df == inf
    assert found.half_width == pytest.approx(0.1 * stats.norm.ppf(0.975))


@pytest.mark.parametrize(("items", "runs"), [(0.01, 0.03), (0.03, 0.01), (0.02, 0.02)])
@pytest.mark.parametrize("count", [2, 5])
def test_the_combined_interval_covers_new_items_and_new_seeds(items: float, runs: float, count: int) -> None:
    """`items` is the error that all runs share, `runs` that of each; t over seeds alone misses the first."""
    random = np.random.default_rng(7)
    trials, truth = 1000, 0.5
    shared = random.normal(0, items, (trials, 1))
    scores = truth + shared + random.normal(0, runs, (trials, count))
    errors = items * np.sqrt(random.chisquare(99, (trials, count)) / 99)
    found = [
        combined_interval(list(row), list(error), 100) for row, error in zip(scores, errors, strict=True)
    ]
    covered = np.mean([not one.excludes(truth) for one in found])
    assert covered >= 0.935
    seeds_alone = np.mean([not mean_interval(list(row)).excludes(truth) for row in scores])
    if count == 5 and items >= runs:
        assert seeds_alone < 0.85
    if count == 5:
        assert covered < 0.99


def test_two_one_sided_tests_are_scipys() -> None:
    margin, values = 0.05, np.asarray(VALUES) - 0.32
    sides = [
        stats.ttest_1samp(values, -margin, alternative="greater").pvalue,
        stats.ttest_1samp(values, margin, alternative="less").pvalue,
    ]
    assert equivalence_p(mean_interval(list(values)), margin) == pytest.approx(max(sides))


def test_equality_is_a_ninety_percent_interval_inside_the_margins() -> None:
    inside = mean_interval([0.001, -0.002, 0.0015, 0.0])
    assert equivalence_p(inside, 0.01) < 0.05
    narrow = mean_interval([0.001, -0.002, 0.0015, 0.0], 0.9)
    assert (equivalence_p(inside, abs(narrow.low)) < 0.05) == (narrow.high < abs(narrow.low))
    assert equivalence_p(mean_interval([0.02, 0.021, 0.019]), 0.01) > 0.5
    assert equivalence_p(mean_interval([0.0, 0.0]), 0.01) == 0.0
    with pytest.raises(ValueError, match="positive"):
        equivalence_p(inside, 0.0)


def test_values_without_spread_are_certain() -> None:
    assert two_sided_p(mean_interval([1.0, 1.0])) == 0.0
    assert two_sided_p(mean_interval([0.0, 0.0])) == 1.0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    found = holm([0.02, nan, 0.03])
    assert found[0] == pytest.approx(0.04) and isnan(found[1]) and found[2] == pytest.approx(0.04)
    assert holm([]) == []


def test_the_best_is_compared_with_each_of_the_others() -> None:
    candidate, first, second = [3.0, 3.2, 2.9], [1.0, 1.1, 0.8], [2.5, 2.9, 2.4]
    found = best_interval(candidate, [first, second])
    each = mean_interval([0.5, 0.3, 0.5], 0.975)
    assert (found.mean, found.low, found.high) == pytest.approx((each.mean, each.low, each.high))
    assert best_interval(candidate, [second]).half_width < found.half_width
    with pytest.raises(ValueError, match="nothing to compare"):
        best_interval(candidate, [])


def test_the_best_of_equals_is_not_found_to_be_best() -> None:
    """Simultaneous: the winner of five equal arms is called the best in far fewer than one in twenty cases."""
    random = np.random.default_rng(3)
    wrong = 0
    for _ in range(400):
        arms = random.normal(0, 1, (5, 5))
        winner = int(arms.mean(axis=1).argmax())
        wrong += best_interval(arms[winner], [arms[j] for j in range(5) if j != winner]).low > 0
    assert wrong / 400 < 0.05


def test_a_rank_correlation_is_scipys_within_bounds() -> None:
    first, second = [1, 2, 3, 4, 5, 6, 7, 8], [1, 3, 2, 4, 6, 5, 8, 7]
    found = rank_correlation(first, second)
    assert found.mean == pytest.approx(stats.spearmanr(first, second).statistic)
    assert -1 < found.low < found.mean < found.high < 1
    stderr = ((1 + found.mean**2 / 2) / 5) ** 0.5
    assert np.arctanh(found.high) - np.arctanh(found.low) == pytest.approx(2 * 1.959964 * stderr)


@pytest.mark.parametrize(
    ("first", "second", "mean"),
    [([1, 2, 3], [1, 2, 3], 1.0), ([1, 2, 3, 4, 5], [5, 4, 3, 2, 1], -1.0), ([1, 1, 1], [1, 2, 3], nan)],
)
def test_a_correlation_without_bounds(first, second, mean) -> None:
    found = rank_correlation(first, second)
    assert found.mean == pytest.approx(mean, nan_ok=True)
    assert not found.known
    with pytest.raises(ValueError, match="two pairs"):
        rank_correlation([1], [2])
