"""Factorial analysis: main effects and interactions with their uncertainty, seeds as replicates.

The model is linear with normal errors of one variance; what replicates and left-out terms scatter is its error.
Effects and tests are those of sum-coded least squares with "type III" sums of squares (Yates 1934, weighted squares of
means), so every cell counts alike in unbalanced designs too. scipy is imported by the first call that needs it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite, nan, prod, sqrt
from typing import Any

import numpy as np

from results.statistics.design import Design, Level, Matrix, Term, combinations_of, design
from results.statistics.intervals import Interval, t_interval

ROUNDING = 1e-24
"""A sum of squares below this share of that of all values comes of rounding."""

MOST_COLUMNS = 1000
"""Columns of a model, beyond which nobody reads its effects."""


@dataclass(frozen=True)
class Effect:
    """What one combination of levels of a term adds to the mean, in the metric's unit.

    `mean` is the marginal mean of a main effect's level, over all levels of the other factors alike; of an
    interaction it is unknown (NaN). `runs` counts the runs at these levels.
    """

    term: str
    factors: tuple[str, ...]
    levels: tuple[Level, ...]
    effect: Interval
    mean: Interval


@dataclass(frozen=True)
class TermTest:
    """The F test that all effects of a term are zero. `share` is its sum of squares over that and the error's."""

    term: str
    df: int
    f: float
    p: float
    sum_of_squares: float
    share: float


@dataclass(frozen=True)
class Analysis:
    """The effects of a design on one metric.

    `error_df` and `error` (standard deviation of one run) are the model's residual. `lack_of_fit` tests what the
    model leaves out against the scatter of replicates: where it is significant, higher interactions matter.
    `left_out` maps terms that the runs cannot tell apart to the reason.
    """

    mean: Interval
    terms: Sequence[TermTest]
    effects: Sequence[Effect]
    error: float
    error_df: int
    runs: int
    cells: int
    lack_of_fit: TermTest | None
    left_out: Mapping[str, str]


@dataclass(frozen=True)
class Fit:
    """Least squares on the means of cells, weighted by their runs: equal to least squares on the runs."""

    design: Design
    coefficients: Matrix
    inverse: Matrix
    variance: float
    df: int
    counts: Matrix

    def interval(self, weights: Matrix, n: int) -> Interval:
        """The interval of a weighted sum of coefficients that `n` runs bear on."""
        stderr = sqrt(max(float(weights @ self.inverse @ weights), 0.0) * self.variance) if self.df else nan
        return t_interval(float(weights @ self.coefficients), stderr, self.df, n)


def analyse(values: Sequence[float], levels: Mapping[str, Sequence[Any]], order: int = 2) -> Analysis:
    """The effects on `values`, one a run, of the factors whose level each run has in `levels`.

    Terms have up to `order` factors. A design without replicates and with all interactions has no error: its
    effects have no bounds.

    Raises:
        ValueError: there are no runs, a factor has fewer than two levels, or there are too many effects.
    """
    names, numbers = _numbered(levels, len(values))
    _check_size(names, order)
    cells, places = np.unique(numbers, axis=0, return_inverse=True)
    places = places.reshape(-1)
    sample = np.asarray(values, np.float64)
    counts = np.bincount(places).astype(np.float64)
    means = np.bincount(places, sample) / counts
    made = design(names, cells, order)
    rounding = ROUNDING * float(np.square(sample).sum())
    within = _above(float(np.square(sample - means[places]).sum()), rounding)
    fit, misfit = _fitted(made, means, counts, within, rounding)
    constant = np.eye(made.matrix.shape[1])[0]
    return Analysis(
        fit.interval(constant, len(sample)),
        [_test(fit, term) for term in made.terms],
        [effect for term in made.terms for effect in _effects(fit, term, constant)],
        sqrt(fit.variance) if fit.df else nan,
        fit.df,
        len(sample),
        len(cells),
        _lack_of_fit(misfit, len(cells) - made.matrix.shape[1], within, len(sample) - len(cells)),
        made.left_out,
    )


def _numbered(
    levels: Mapping[str, Sequence[Any]], runs: int
) -> tuple[dict[str, list[Level]], np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    """The levels of each factor in the order of their first run, and each run's level numbers."""
    if not runs:
        raise ValueError("an analysis of no runs")
    names = {factor: list(dict.fromkeys(column)) for factor, column in levels.items()}
    for factor, found in names.items():
        if len(found) < 2:
            raise ValueError(f"the factor {factor!r} has one level only, {found[0]!r}")
    where = {factor: {level: number for number, level in enumerate(found)} for factor, found in names.items()}
    columns = [[where[factor][level] for level in column] for factor, column in levels.items()]
    return names, np.asarray(columns, np.int64).reshape(len(names), runs).T


def _check_size(levels: Mapping[str, Sequence[Level]], order: int) -> None:
    sizes = [len(found) - 1 for found in levels.values()]
    columns = sum(prod(chosen) for size in range(1, order + 1) for chosen in combinations(sizes, size))
    if columns > MOST_COLUMNS:
        raise ValueError(
            f"{columns} effects are too many to tell apart; choose fewer factors or a lower order"
        )


def _above(squares: float, rounding: float) -> float:
    """A sum of squares, zero where it is rounding alone."""
    return squares if squares > rounding else 0.0


def _fitted(made: Design, means: Matrix, counts: Matrix, within: float, rounding: float) -> tuple[Fit, float]:
    """The fit and the sum of squares between the cells' means and the model."""
    root = np.sqrt(counts)
    weighted = made.matrix * root[:, None]
    inverse = np.asarray(np.linalg.inv(weighted.T @ weighted), np.float64)
    coefficients = np.asarray(np.linalg.lstsq(weighted, means * root, rcond=None)[0], np.float64)
    misfit = _above(float((counts * np.square(means - made.matrix @ coefficients)).sum()), rounding)
    df = int(counts.sum()) - made.matrix.shape[1]
    return Fit(made, coefficients, inverse, (within + misfit) / df if df else nan, df, counts), misfit


def _test(fit: Fit, term: Term) -> TermTest:
    own = fit.coefficients[term.columns]
    squares = float(own @ np.linalg.solve(fit.inverse[term.columns, term.columns], own))
    return _f_test(term.name, squares, len(own), fit.variance * fit.df, fit.df)


def _lack_of_fit(misfit: float, df: int, within: float, within_df: int) -> TermTest | None:
    if df <= 0 or within_df <= 0:
        return None
    return _f_test("all other interactions", misfit, df, within, within_df)


def _f_test(name: str, squares: float, df: int, error: float, error_df: int) -> TermTest:
    """The F test of `squares` against `error` (sums of squares); NaN without an error to compare with."""
    from scipy import special

    share = squares / (squares + error) if isfinite(error) and squares + error > 0 else nan
    if not error_df or not error > 0:
        return TermTest(name, df, nan, nan, squares, share)
    f = squares / df / (error / error_df)
    return TermTest(name, df, f, float(special.fdtrc(df, error_df, f)), squares, share)


def _effects(fit: Fit, term: Term, constant: Matrix) -> list[Effect]:
    made, found = fit.design, []
    places = [made.factors.index(factor) for factor in term.factors]
    for chosen in combinations_of(made.levels, term):
        weights = made.weights(term, chosen)
        n = int(fit.counts[(made.cells[:, places] == chosen).all(axis=1)].sum())
        mean = fit.interval(constant + weights, n) if len(places) == 1 else Interval(nan, nan, nan, n)
        levels = tuple(
            made.levels[factor][number] for factor, number in zip(term.factors, chosen, strict=True)
        )
        found.append(Effect(term.name, term.factors, levels, fit.interval(weights, n), mean))
    return found
