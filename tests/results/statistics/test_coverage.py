"""What intervals promise at five seeds, simulated with the seed fixed: 95 % cover, 94 to 96 % of 10,000 draws."""

import numpy as np
import pytest

from results.statistics import mean_interval
from results.statistics.bootstrap import FEWEST, bootstrap_interval
from results.statistics.factorial import analyse
from results.statistics.paired import paired

DRAWS = 10_000
SEEDS = 5


def share(covered) -> float:
    return float(np.mean(list(covered)))


def test_a_mean_over_five_seeds_is_covered() -> None:
    draws = np.random.default_rng(0).normal(0.7, 0.02, (DRAWS, SEEDS))
    assert 0.94 < share(not mean_interval(row).excludes(0.7) for row in draws.tolist()) < 0.96


def test_a_paired_difference_over_five_seeds_and_shared_cells_is_covered() -> None:
    """Cells differ far more than arms do, and a seed moves all cells of an arm together."""
    random = np.random.default_rng(1)
    cells, luck = random.normal(0, 1, (4, 1)), random.normal(0, 0.05, (2, DRAWS, 1, SEEDS))
    noise = random.normal(0, 0.03, (2, DRAWS, 4, SEEDS))
    first, second = 0.02 + cells + luck[0] + noise[0], cells + luck[1] + noise[1]
    found = [paired(one, other).difference for one, other in zip(first, second, strict=True)]
    assert 0.94 < share(not one.excludes(0.02) for one in found) < 0.96


@pytest.mark.slow
def test_effects_of_a_two_by_two_design_at_five_seeds_are_covered() -> None:
    random = np.random.default_rng(2)
    levels = {"a": ["x", "x", "y", "y"] * SEEDS, "b": ["p", "q"] * 2 * SEEDS}
    truth = np.asarray([0.1, 0.2, 0.4, 0.9] * SEEDS)
    main, crossed = (0.65 - 0.15) / 2, ((0.9 - 0.4) - (0.2 - 0.1)) / 4
    covered = np.zeros(2)
    for _ in range(DRAWS):
        found = analyse((truth + random.normal(0, 0.3, len(truth))).tolist(), levels).effects
        effects = {each.levels: each.effect for each in found}
        covered += [not effects["y",].excludes(main), not effects["y", "q"].excludes(crossed)]
    assert all(abs(covered / DRAWS - 0.95) < 0.01)


def test_a_percentile_bootstrap_of_five_does_not_cover_which_is_why_there_is_none() -> None:
    random = np.random.default_rng(4)
    draws = random.normal(0, 1, (2000, SEEDS))
    means = draws[np.arange(2000)[:, None, None], random.integers(0, SEEDS, (1, 400, SEEDS))].mean(axis=2)
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    assert np.mean((low <= 0) & (high >= 0)) < 0.87
    with pytest.raises(ValueError, match=f"needs {FEWEST} or more"):
        bootstrap_interval([0.1] * (FEWEST - 1))


def test_a_bootstrap_interval_covers_from_twenty_on() -> None:
    """80 draws of 20 skewed values; few, for each is itself 9,999 resamples."""
    random = np.random.default_rng(5)
    found = [bootstrap_interval(random.gamma(4.0, 1.0, FEWEST).tolist()) for _ in range(80)]
    assert 0.88 < share(not one.excludes(4.0) for one in found) < 0.98


def test_a_bootstrap_is_repeatable_and_of_any_statistic() -> None:
    values = np.random.default_rng(6).normal(3, 1, 40).tolist()
    found = bootstrap_interval(values, np.median)
    assert found == bootstrap_interval(values, np.median)
    assert found.low < np.median(values) < found.high and found.n == 40
    assert bootstrap_interval([2.0] * 30).half_width == 0
