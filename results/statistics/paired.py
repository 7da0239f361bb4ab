"""Paired comparisons over shared cells: arms that were measured under the same conditions and seeds.

Scores are arrays (arms, cells, seeds) with NaN where a run is missing. Replicates are the seeds, each with its mean
over the cells: the interval then covers new seeds in these cells. With one seed the cells are the replicates.
"""

from dataclasses import dataclass

import numpy as np

from results.statistics.design import Matrix
from results.statistics.intervals import CONFIDENCE, Interval, mean_interval


@dataclass(frozen=True)
class Paired:
    """The difference of two arms. Of `cells` shared cells the first arm is above in `wins` and level in `ties`.

    `replicates` names what `difference` is over: "seeds" or "cells"; `seeds` counts those that all cells have.
    """

    difference: Interval
    wins: int
    ties: int
    cells: int
    seeds: int
    replicates: str

    @property
    def share(self) -> float:
        """The share of shared cells that the first arm wins, ties one half."""
        return (self.wins + self.ties / 2) / self.cells if self.cells else float("nan")


NOTHING = Paired(Interval(np.nan, np.nan, np.nan, 0), 0, 0, 0, 0, "seeds")


def paired(first: Matrix, second: Matrix, confidence: float = CONFIDENCE) -> Paired:
    """`first - second`, both (cells, seeds), over the cells and seeds that both have without gaps."""
    differences = np.round(first - second, 12)
    rows, columns = without_gaps(np.isnan(differences))
    if not rows:
        return NOTHING
    found = differences[np.ix_(rows, columns)]
    by_cell = found.mean(axis=1)
    replicates = replicate_means(found)
    return Paired(
        mean_interval(replicates.tolist(), confidence),
        int((by_cell > 0).sum()),
        int((by_cell == 0).sum()),
        len(rows),
        len(columns),
        "seeds" if len(columns) > 1 else "cells",
    )


def replicate_means(values: Matrix) -> Matrix:
    """Of (cells, seeds) the mean over cells for each seed; with one seed, the cells' own values."""
    return values.mean(axis=0) if values.shape[1] > 1 else values[:, 0]


def without_gaps(gaps: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]") -> tuple[list[int], list[int]]:
    """Rows and columns of a table that remain when whatever lacks the largest share goes first, rows before columns.

    Invariant: no gap is left; both are empty when there is nothing without a gap.
    """
    rows, columns = list(range(gaps.shape[0])), list(range(gaps.shape[1]))
    while rows and columns and gaps[np.ix_(rows, columns)].any():
        part = gaps[np.ix_(rows, columns)]
        by_row, by_column = part.mean(axis=1), part.mean(axis=0)
        if by_row.max() >= by_column.max():
            rows.pop(int(by_row.argmax()))
        else:
            columns.pop(int(by_column.argmax()))
    return (rows, columns) if rows and columns else ([], [])


def shared_cells(scores: Matrix) -> tuple[list[int], list[int]]:
    """The cells and seeds of (arms, cells, seeds) in which every arm was measured."""
    return without_gaps(np.asarray(np.isnan(scores).any(axis=0), np.bool_))
