"""What a cell of the study is compared with, beside a contrast."""

from collections.abc import Iterator

from results.studies import pairs
from results.studies.alignment.cells import Cell, original, other_merges, parents
from results.studies.alignment.scores import Scores
from results.studies.alignment.statements import Comparison
from results.studies.pairs import Baseline, Pairs, Side, Values, against_first_snapshot
from results.studies.statements import Levels


def _against_original(values: Values[Cell], cell: Cell) -> Iterator[Side[Cell]]:
    """A start model has no seed: its one score stands for every seed of the other side."""
    for other in original(cell, values.scores.cells):
        left, start = values.of(cell), values.of(other)
        yield Side(cell, left, dict.fromkeys(left, start[0]) if 0 in start else {})


def _against_worst_single(values: Values[Cell], cell: Cell) -> Iterator[Side[Cell]]:
    singles = parents(cell, values.scores.cells)
    if singles:
        yield Side(cell, values.of(cell), values.of_all(singles, min, False))


def _against_best_parent(values: Values[Cell], cell: Cell) -> Iterator[Side[Cell]]:
    found = parents(cell, values.scores.cells)
    if found:
        yield Side(cell, values.of(cell), values.of_all(found, max, True))


def _against_other_merges(values: Values[Cell], cell: Cell) -> Iterator[Side[Cell]]:
    for other in other_merges(cell, values.scores.cells):
        yield Side(other, values.of(cell), values.of(other))


BASELINES: dict[str, Baseline[Cell]] = {
    "original": _against_original,
    "worst_single": _against_worst_single,
    "best_parent": _against_best_parent,
    "other_merges": _against_other_merges,
    "first_snapshot": against_first_snapshot,
}


def paired(scores: Scores, test: Comparison, levels: Levels, benchmark: str) -> Pairs[Cell]:
    """The pairs of a test in the cells of a slice."""
    return pairs.paired(scores, test, levels, benchmark, BASELINES)
