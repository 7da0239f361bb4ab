"""Paired scores: what a test compares, cell by cell and seed by seed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from results.studies.alignment.cells import Cell, original, other_merges, parents
from results.studies.alignment.scores import Score, Scores, Seed
from results.studies.alignment.statements import Comparison, Levels

BySeed = dict[Seed, float]


@dataclass(frozen=True)
class Pairs:
    """Scores `left` and `right`, (cells, seeds) each, without gaps.

    `missing` are the cells that were planned on both sides and left out because a score is not there;
    `dropped_seeds` those seeds that had to go so that the others are complete.
    """

    cells: list[Cell]
    seeds: list[Seed]
    left: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"
    right: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"
    missing: list[Cell]
    dropped_seeds: list[Seed]

    @property
    def differences(self) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
        """`left - right`, without the rounding errors that would make a clear difference of a tie."""
        return np.round(self.left - self.right, 10)


@dataclass(frozen=True)
class Side:
    """One cell's two scores by seed."""

    cell: Cell
    left: BySeed
    right: BySeed


def paired(scores: Scores, test: Comparison, levels: Levels, benchmark: str) -> Pairs:
    """The pairs of a test in the cells of a slice."""
    sides = (
        _between(scores, test, levels, benchmark) if test.between else _sides(scores, test, levels, benchmark)
    )
    return _complete(list(sides))


def _sides(scores: Scores, test: Comparison, levels: Levels, benchmark: str) -> Iterator[Side]:
    """The scores that are compared, for each planned cell of which the other side is planned as well."""
    values = Values(scores, benchmark)
    for cell in scores.cells:
        if not (cell.fits(test.cells) and cell.fits(levels)):
            continue
        if test.contrast:
            ((factor, (first, second)),) = test.contrast.items()
            other = cell._replace(**{factor: second})
            if getattr(cell, factor) == first and other in scores.planned:
                yield Side(cell, values.last(cell), values.last(other))
        else:
            yield from BASELINES[test.against or ""](values, cell)


def _between(scores: Scores, test: Comparison, levels: Levels, benchmark: str) -> Iterator[Side]:
    """The comparison at one level of a factor (left) and at another (right), all else equal."""
    ((factor, (first, second)),) = test.between.items()
    sides = {side.cell: side for side in _sides(scores, test, levels, benchmark)}
    for cell, side in sides.items():
        other = sides.get(cell._replace(**{factor: second}))
        if getattr(cell, factor) == first and other is not None:
            yield Side(cell, _difference(side), _difference(other))


def _difference(side: Side) -> BySeed:
    return {seed: side.left[seed] - side.right[seed] for seed in side.left if seed in side.right}


@dataclass(frozen=True)
class Values:
    """Scores of one benchmark as plain numbers by seed."""

    scores: Scores
    benchmark: str

    def last(self, cell: Cell, unquantized: bool = False) -> BySeed:
        """The scores at the end of training."""
        runs = self.scores.runs(self.benchmark, cell, unquantized)
        return {seed: run.value for seed, run in runs.items()}

    def of_all(self, cells: list[Cell], choose: Callable[[list[float]], float], unquantized: bool) -> BySeed:
        """`choose` of the cells' scores, for each seed that all of them have."""
        found = [self.last(cell, unquantized) for cell in cells]
        shared = set.intersection(*(set(one) for one in found)) if found else set()
        return {seed: choose([one[seed] for one in found]) for seed in sorted(shared)}


def _against_original(values: Values, cell: Cell) -> Iterator[Side]:
    """A start model has no seed: its one score stands for every seed of the other side."""
    for other in original(cell, values.scores.cells):
        left, start = values.last(cell), values.last(other)
        yield Side(cell, left, dict.fromkeys(left, start[0]) if 0 in start else {})


def _against_worst_single(values: Values, cell: Cell) -> Iterator[Side]:
    singles = parents(cell, values.scores.cells)
    if singles:
        yield Side(cell, values.last(cell), values.of_all(singles, min, False))


def _against_best_parent(values: Values, cell: Cell) -> Iterator[Side]:
    found = parents(cell, values.scores.cells)
    if found:
        yield Side(cell, values.last(cell), values.of_all(found, max, True))


def _against_other_merges(values: Values, cell: Cell) -> Iterator[Side]:
    for other in other_merges(cell, values.scores.cells):
        yield Side(other, values.last(cell), values.last(other))


def _against_first_snapshot(values: Values, cell: Cell) -> Iterator[Side]:
    curves = values.scores.curves(values.benchmark, cell)
    gains = {seed: fitted_gain(line) for seed, line in curves.items() if len(line) > 1}
    if curves or not values.scores.has(values.benchmark):
        yield Side(cell, gains, dict.fromkeys(gains, 0.0))


BASELINES: dict[str, Callable[[Values, Cell], Iterator[Side]]] = {
    "original": _against_original,
    "worst_single": _against_worst_single,
    "best_parent": _against_best_parent,
    "other_merges": _against_other_merges,
    "first_snapshot": _against_first_snapshot,
}


def fitted_gain(line: list[Score]) -> float:
    """The least-squares slope of a score over steps, times the steps from the first snapshot to the last."""
    steps = np.asarray([each.step for each in line])
    slope = np.polyfit(steps - steps.mean(), [each.value for each in line], 1)[0]
    return float(slope * (steps[-1] - steps[0]))


def _complete(sides: list[Side]) -> Pairs:
    """Without gaps: as long as a score is missing, the seed or the cell that lacks most goes."""
    seeds = sorted({seed for side in sides for seed in side.left})
    shape = (len(sides), len(seeds))
    left, right = (
        np.asarray([[part.get(seed, np.nan) for seed in seeds] for part in parts], np.float64).reshape(shape)
        for parts in ([side.left for side in sides], [side.right for side in sides])
    )
    gaps = np.isnan(left) | np.isnan(right)
    rows, columns = _without_gaps(gaps)
    kept = np.ix_(rows, columns)
    return Pairs(
        [sides[row].cell for row in rows],
        [seeds[column] for column in columns],
        left[kept],
        right[kept],
        [side.cell for row, side in enumerate(sides) if row not in rows],
        [seed for column, seed in enumerate(seeds) if column not in columns],
    )


def _without_gaps(gaps: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]") -> tuple[list[int], list[int]]:
    """Rows and columns that remain when whatever lacks the largest share goes first; a row before a column."""
    rows, columns = list(range(gaps.shape[0])), list(range(gaps.shape[1]))
    while rows and columns and gaps[np.ix_(rows, columns)].any():
        part = gaps[np.ix_(rows, columns)]
        by_row, by_column = part.mean(axis=1), part.mean(axis=0)
        if by_row.max() >= by_column.max():
            rows.pop(int(by_row.argmax()))
        else:
            columns.pop(int(by_column.argmax()))
    return (rows, columns) if rows and columns else ([], [])
