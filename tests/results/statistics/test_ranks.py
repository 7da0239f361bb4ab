"""Paired comparisons, ranks and wins by hand, against scipy, and with runs missing."""

from math import isnan, nan

import numpy as np
import pytest
from scipy import stats

from results.statistics import mean_interval
from results.statistics.paired import paired, without_gaps
from results.statistics.ranks import ranking

FIRST = np.asarray([[0.5, 0.6, 0.7], [0.2, 0.3, 0.1]])
SECOND = np.asarray([[0.4, 0.6, 0.5], [0.3, 0.3, 0.0]])


def test_the_replicates_are_seeds_each_the_mean_over_cells() -> None:
    found = paired(FIRST, SECOND)
    expected = mean_interval([0.0, 0.0, 0.15])
    assert (found.difference.mean, found.difference.low) == pytest.approx((expected.mean, expected.low))
    assert (found.cells, found.seeds, found.replicates) == (2, 3, "seeds")
    assert (found.wins, found.ties, found.share) == (1, 1, 0.75)


def test_with_one_seed_the_cells_are_the_replicates() -> None:
    found = paired(FIRST[:, :1], SECOND[:, :1])
    assert (found.difference, found.replicates) == (mean_interval([0.1, -0.1]), "cells")


def test_only_what_both_have_is_compared() -> None:
    """A cell without a counterpart goes, and so does a seed that is not there in every cell."""
    second = SECOND.copy()
    second[1] = nan
    found = paired(FIRST, second)
    assert (found.difference, found.cells) == (mean_interval([0.1, 0.0, 0.2]), 1)
    second = SECOND.copy()
    second[1, 2] = nan
    assert paired(FIRST, second).seeds * paired(FIRST, second).cells in (3, 4)
    assert paired(FIRST, np.full_like(SECOND, nan)).cells == 0


def test_whatever_lacks_most_goes_first() -> None:
    gaps = np.zeros((3, 4), bool)
    gaps[1, :3] = True
    assert without_gaps(gaps) == ([0, 2], [0, 1, 2, 3])
    assert without_gaps(gaps.T) == ([0, 1, 2, 3], [0, 2])
    assert without_gaps(np.ones((2, 2), bool)) == ([], [])


def arms(noise: float = 0.05, seed: int = 0):
    """Three arms in six cells at five seeds; the first is best, the other two are alike."""
    random = np.random.default_rng(seed)
    cells = random.normal(0, 1, (1, 6, 1))
    return cells + np.asarray([0.3, 0.0, 0.0])[:, None, None] + random.normal(0, noise, (3, 6, 5))


def test_the_better_arm_has_the_better_rank_and_wins() -> None:
    found = ranking(arms())
    assert found.ranks[0].mean == 1.0 and found.ranks[1].mean + found.ranks[2].mean == pytest.approx(5.0)
    wins = found.wins()
    assert wins[0].tolist()[1:] == [1.0, 1.0] and wins[1, 2] == pytest.approx(1 - wins[2, 1])
    assert isnan(wins[1, 1])
    assert found.duels[0].p_holm < 0.01 < found.duels[2].p_holm
    assert (found.cells, found.seeds) == (6, 5)


def test_friedmans_test_is_scipys_over_the_means_of_cells() -> None:
    scores = arms(0.4)
    assert ranking(scores).p == pytest.approx(stats.friedmanchisquare(*scores.mean(axis=2)).pvalue)
    assert isnan(ranking(scores[:2]).p)


def test_ties_share_their_ranks() -> None:
    found = ranking(np.ones((3, 2, 2)))
    assert [one.mean for one in found.ranks] == [2.0, 2.0, 2.0]
    assert found.wins()[0, 1] == 0.5 and isnan(found.p)


def test_arms_that_share_no_cell_have_no_rank() -> None:
    scores = arms()
    scores[0, :3], scores[1, 3:] = nan, nan
    found = ranking(scores)
    assert found.cells == 0 and all(isnan(one.mean) for one in found.ranks)
    assert [duel.paired.cells for duel in found.duels] == [0, 3, 3]
    with pytest.raises(ValueError, match="two arms"):
        ranking(scores[:1])
