"""The design of a factorial experiment: its cells, and the terms (main effects, interactions) that can be told apart.

Factors are coded so that a term's columns sum to zero over the levels of each of its factors. An effect is then a
deviation from the mean in which all cells count alike, however many runs each has: Yates' weighted squares of means
(The analysis of multiple classifications with unequal numbers in the different classes, JASA 29, 1934).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from typing import Any

import numpy as np

Matrix = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Level = Any


@dataclass(frozen=True)
class Term:
    """A main effect (one factor) or an interaction (several), and where its columns stand in the design."""

    factors: tuple[str, ...]
    columns: slice

    @property
    def name(self) -> str:
        """The factors as a reader sees them."""
        return " × ".join(self.factors)


@dataclass(frozen=True)
class Design:
    """The distinct cells of a design and the columns of its model.

    `cells` are level numbers, (cells, factors); `matrix` is (cells, columns), the first column the constant.
    `left_out` maps each term that the runs cannot tell apart from others to the reason.

    Invariant: the columns of `matrix` are linearly independent.
    """

    levels: Mapping[str, Sequence[Level]]
    cells: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    terms: tuple[Term, ...]
    matrix: Matrix
    left_out: Mapping[str, str]

    @cached_property
    def factors(self) -> tuple[str, ...]:
        """The names of the factors, in order."""
        return tuple(self.levels)

    def weights(self, term: Term, chosen: Sequence[int]) -> Matrix:
        """The weights on all columns that make the effect of the level numbers `chosen` of `term`'s factors."""
        found = np.zeros(self.matrix.shape[1])
        coded = np.ones(1)
        for factor, number in zip(term.factors, chosen, strict=True):
            coded = np.kron(coded, sum_coding(len(self.levels[factor]))[number])
        found[term.columns] = coded
        return found


def sum_coding(count: int) -> Matrix:
    """(levels, levels - 1): a column for each level but the last, which is minus one in all."""
    return np.vstack([np.eye(count - 1), -np.ones((1, count - 1))])


def design(
    levels: Mapping[str, Sequence[Level]],
    cells: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    order: int,
) -> Design:
    """The design of `cells` with all terms of up to `order` factors that they can tell apart.

    An interaction with empty combinations is left out, and so is a term that those before it determine.
    """
    coded = [sum_coding(len(each))[cells[:, place]] for place, each in enumerate(levels.values())]
    matrix: Matrix = np.ones((len(cells), 1))
    terms: list[Term] = []
    left_out: dict[str, str] = {}
    names = tuple(levels)
    for size in range(1, min(order, len(names)) + 1):
        for places in combinations(range(len(names)), size):
            columns = _product([coded[place] for place in places])
            term = Term(
                tuple(names[place] for place in places),
                slice(matrix.shape[1], matrix.shape[1] + columns.shape[1]),
            )
            wider = np.hstack([matrix, columns])
            reason = _empty(levels, cells, places) or _dependent(wider)
            if reason:
                left_out[term.name] = reason
            else:
                matrix, terms = wider, [*terms, term]
    return Design(levels, cells, tuple(terms), matrix, left_out)


def combinations_of(levels: Mapping[str, Sequence[Level]], term: Term) -> list[tuple[int, ...]]:
    """The level numbers of every combination of a term's factors."""
    return list(product(*(range(len(levels[factor])) for factor in term.factors)))


def _product(coded: Sequence[Matrix]) -> Matrix:
    """The columns of an interaction: all products of one column of each factor, the last factor's fastest."""
    found = coded[0]
    for other in coded[1:]:
        found = (found[:, :, None] * other[:, None, :]).reshape(len(found), -1)
    return found


def _empty(
    levels: Mapping[str, Sequence[Level]],
    cells: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    places: Sequence[int],
) -> str:
    sizes = [len(each) for each in levels.values()]
    possible = int(np.prod([sizes[place] for place in places]))
    missing = possible - len(np.unique(cells[:, list(places)], axis=0))
    return f"{missing} of its {possible} combinations have no run" if missing else ""


def _dependent(matrix: Matrix) -> str:
    if matrix.shape[1] > matrix.shape[0] or np.linalg.matrix_rank(matrix) < matrix.shape[1]:
        return "these runs cannot tell it apart from the terms before it"
    return ""
