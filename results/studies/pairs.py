"""Paired scores: what a test compares, cell by cell and seed by seed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Generic

import numpy as np

from results.statistics.paired import without_gaps
from results.studies.cells import Cell, Levels, fits, with_levels
from results.studies.readings import READINGS, fitted_gain, nearest
from results.studies.scores import Score, Scores, Seed
from results.studies.statements import Comparison

BySeed = dict[Seed, float]


@dataclass(frozen=True)
class Pairs(Generic[Cell]):
    """Scores `left` and `right`, (cells, seeds) each, without gaps.

    `missing` are the cells that were planned on both sides and left out because a score is not there;
    `dropped_seeds` those seeds that had to go so that the others are complete. `relative` differences are in per cent
    of the right side.
    """

    cells: list[Cell]
    seeds: list[Seed]
    left: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"
    right: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"
    missing: list[Cell]
    dropped_seeds: list[Seed]
    relative: bool = False

    @property
    def differences(self) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
        """`left - right`, without the rounding errors that would make a clear difference of a tie."""
        found = np.round(self.left - self.right, 10)
        return 100 * found / np.abs(self.right) if self.relative else found


@dataclass(frozen=True)
class Side(Generic[Cell]):
    """One cell's two scores by seed."""

    cell: Cell
    left: BySeed
    right: BySeed


@dataclass(frozen=True)
class Values(Generic[Cell]):
    """Scores of one benchmark as plain numbers by seed, taken as the test says: at the end, `at` a step, or read."""

    scores: Scores[Cell]
    benchmark: str
    test: Comparison
    at: float | None = None

    def of(self, cell: Cell, apart: bool = False) -> BySeed:
        """The numbers of a cell."""
        if self.test.reading is not None or self.at is not None:
            lines = self.scores.curves(self.benchmark, cell)
            found = {seed: self._read(line) for seed, line in lines.items()}
            return {seed: value for seed, value in found.items() if value is not None}
        return {seed: run.value for seed, run in self.scores.runs(self.benchmark, cell, apart).items()}

    def of_all(self, cells: list[Cell], choose: Callable[[list[float]], float], apart: bool) -> BySeed:
        """`choose` of the cells' numbers, for each seed that all of them have."""
        found = [self.of(cell, apart) for cell in cells]
        shared = set.intersection(*(set(one) for one in found)) if found else set()
        return {seed: choose([one[seed] for one in found]) for seed in sorted(shared)}

    def _read(self, line: list[Score]) -> float | None:
        if self.test.reading is None:
            found = nearest(line, (self.at or 0.0) / self._horizon, self._last)
            return None if found is None else found.value
        value = READINGS[self.test.reading](line, self.test.split)
        if self.test.reading == "peak" and value is not None:
            return value / self._last * self._horizon
        return value

    @property
    def _horizon(self) -> float:
        return self.test.vocabulary.horizon or 1.0

    @property
    def _last(self) -> float:
        """The last step of the source's trainings, of which a step of the paper is a share."""
        lines = self.scores.snapshots.get(self.benchmark, {}).values()
        return max(line[-1].step for by_seed in lines for line in by_seed.values() if line)


Baseline = Callable[[Values[Cell], Cell], Iterator[Side[Cell]]]
"""Yields the sides of a cell's comparison: usually one, with the cell's own score on the left."""


def paired(
    scores: Scores[Cell],
    test: Comparison,
    levels: Levels,
    benchmark: str,
    baselines: "Mapping[str, Baseline[Cell]]",
    at: float | None = None,
) -> Pairs[Cell]:
    """The pairs of a test in the cells of a slice."""
    values = Values(scores, benchmark, test, at)
    sides = list(_sides(values, levels, baselines))
    return complete(_between(test, sides) if test.between else sides, test.relative)


def _sides(
    values: Values[Cell], levels: Levels, baselines: "Mapping[str, Baseline[Cell]]"
) -> Iterator[Side[Cell]]:
    """The scores that are compared, for each planned cell of which the other side is planned as well."""
    test, scores = values.test, values.scores
    for cell in scores.cells:
        if not (fits(cell, test.cells) and fits(cell, levels)):
            continue
        if test.against is not None:
            yield from baselines[test.against](values, cell)
        elif test.beside is not None:
            yield Side(cell, values.of(cell), Values(scores, test.beside, test, values.at).of(cell))
        else:
            yield from _beside_other(values, cell)


def _beside_other(values: Values[Cell], cell: Cell) -> Iterator[Side[Cell]]:
    test, replaced = values.test, dict(values.test.other)
    for factor, (first, second) in test.contrast.items():
        if getattr(cell, factor) != first:
            return
        replaced[factor] = second
    other = with_levels(cell, replaced)
    if other != cell and other in values.scores.planned:
        yield Side(cell, values.of(cell), values.of(other))


def _between(test: Comparison, found: list[Side[Cell]]) -> list[Side[Cell]]:
    """The comparison at one level of a factor (left) and at another (right), all else equal."""
    ((factor, (first, second)),) = test.between.items()
    sides = {side.cell: side for side in found}
    return [
        Side(cell, _difference(side), _difference(sides[other]))
        for cell, side in sides.items()
        if getattr(cell, factor) == first and (other := with_levels(cell, {factor: second})) in sides
    ]


def _difference(side: Side[Cell]) -> BySeed:
    return {seed: side.left[seed] - side.right[seed] for seed in side.left if seed in side.right}


def against_nothing(values: Values[Cell], cell: Cell) -> Iterator[Side[Cell]]:
    """The score itself, compared with 0."""
    left = values.of(cell)
    if left or not values.scores.has(values.benchmark):
        yield Side(cell, left, dict.fromkeys(left, 0.0))


def against_first_snapshot(values: Values[Cell], cell: Cell) -> Iterator[Side[Cell]]:
    """The fitted change from the first snapshot of training to the last."""
    curves = values.scores.curves(values.benchmark, cell)
    gains = {seed: fitted_gain(line) for seed, line in curves.items() if len(line) > 1}
    if curves or not values.scores.has(values.benchmark):
        yield Side(cell, gains, dict.fromkeys(gains, 0.0))


def complete(sides: list[Side[Cell]], relative: bool = False) -> Pairs[Cell]:
    """Without gaps: as long as a score is missing, the seed or the cell that lacks most goes.

    A right side that is not finite is a gap: nothing can be compared with a run that diverged.
    """
    seeds = sorted({seed for side in sides for seed in side.left})
    shape = (len(sides), len(seeds))
    left, right = (
        np.asarray([[part.get(seed, np.nan) for seed in seeds] for part in parts], np.float64).reshape(shape)
        for parts in ([side.left for side in sides], [_finite(side.right) for side in sides])
    )
    gaps = np.isnan(left) | np.isnan(right)
    rows, columns = without_gaps(gaps)
    kept = np.ix_(rows, columns)
    return Pairs(
        [sides[row].cell for row in rows],
        [seeds[column] for column in columns],
        left[kept],
        right[kept],
        [side.cell for row, side in enumerate(sides) if row not in rows],
        [seed for column, seed in enumerate(seeds) if column not in columns],
        relative,
    )


def _finite(part: BySeed) -> BySeed:
    return {seed: value for seed, value in part.items() if isfinite(value)}
