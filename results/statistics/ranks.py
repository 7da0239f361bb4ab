"""Ranks of several arms and how often each wins against each other, over the cells that they share.

scipy is imported by the first call that needs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np

from results.statistics.design import Matrix
from results.statistics.hypotheses import holm, two_sided_p
from results.statistics.intervals import Interval, mean_interval
from results.statistics.paired import Paired, paired, replicate_means, shared_cells


@dataclass(frozen=True)
class Duel:
    """Two arms (by their numbers) over their shared cells; `p_holm` is corrected over all duels of the table."""

    first: int
    second: int
    paired: Paired
    p: float
    p_holm: float = nan


@dataclass(frozen=True)
class Ranking:
    """Mean ranks (1 is best) with intervals over seeds, and every duel.

    `cells` and `seeds` are those that all arms share, which the ranks are over; a duel has what its two arms share.
    `p` is Friedman's (1937), over cells, that no arm ranks above another; NaN below three arms or two cells.
    """

    ranks: Sequence[Interval]
    duels: Sequence[Duel]
    cells: int
    seeds: int
    p: float

    def wins(self) -> Matrix:
        """(arms, arms): the share of shared cells in which the row's arm beats the column's; NaN on the diagonal."""
        found = np.full((len(self.ranks), len(self.ranks)), nan)
        for duel in self.duels:
            found[duel.first, duel.second] = duel.paired.share
            found[duel.second, duel.first] = 1 - duel.paired.share
        return found


def ranking(scores: Matrix) -> Ranking:
    """The ranking of arms by `scores`, (arms, cells, seeds) with NaN where a run is missing, more is better.

    Raises:
        ValueError: there are fewer than two arms.
    """
    if len(scores) < 2:
        raise ValueError("ranks need two arms or more")
    cells, seeds = shared_cells(scores)
    shared = scores[np.ix_(range(len(scores)), cells, seeds)]
    return Ranking(_mean_ranks(shared), duels(scores), len(cells), len(seeds), _friedman(shared))


def duels(scores: Matrix) -> list[Duel]:
    """Every pair of arms, p-values corrected by Holm."""
    found = []
    for first in range(len(scores)):
        for second in range(first + 1, len(scores)):
            pair = paired(scores[first], scores[second])
            found.append(Duel(first, second, pair, two_sided_p(pair.difference)))
    corrected = holm([duel.p for duel in found])
    return [replace(duel, p_holm=p) for duel, p in zip(found, corrected, strict=True)]


def _mean_ranks(shared: Matrix) -> list[Interval]:
    """Ranks are taken in each cell and seed, ties shared."""
    from scipy import stats

    if not shared.size:
        return [Interval(nan, nan, nan, 0)] * len(shared)
    ranks = stats.rankdata(-np.round(shared, 12), axis=0)
    return [mean_interval(replicate_means(each).tolist()) for each in ranks]


def _friedman(shared: Matrix) -> float:
    from scipy import stats

    by_cell = shared.mean(axis=2) if shared.size else np.empty((len(shared), 0))
    if by_cell.shape[0] < 3 or by_cell.shape[1] < 2 or not np.ptp(by_cell, axis=0).any():
        return nan
    return float(stats.friedmanchisquare(*np.round(by_cell, 12)).pvalue)
