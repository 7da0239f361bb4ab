"""Which cells and seeds remain when scores are missing."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from results.statistics.paired import without_gaps
from results.studies.alignment.cells import Cell
from results.studies.pairs import Side, complete

CELL = Cell("mistral-7b", "beavertails", "harmless", "sft", "qlora", "single")
SHAPES = arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6)


@given(arrays.arrays(bool, SHAPES, elements=st.booleans()))
def test_what_remains_has_no_gap(gaps) -> None:
    rows, columns = without_gaps(gaps)
    assert not gaps[np.ix_(rows, columns)].any()
    assert bool(rows) == bool(columns)
    if not gaps.any():
        assert (len(rows), len(columns)) == gaps.shape


@given(arrays.arrays(bool, SHAPES, elements=st.booleans()))
def test_something_remains_while_anything_iscomplete(gaps) -> None:
    """A single score is lost only when everything is missing."""
    rows, _ = without_gaps(gaps)
    assert bool(rows) == (not gaps.all())


def test_one_gap_costs_the_row_or_the_column_whichever_has_fewer_scores() -> None:
    gaps = np.zeros((8, 5), bool)
    gaps[3, 2] = True
    assert without_gaps(gaps) == ([0, 1, 2, 4, 5, 6, 7], [0, 1, 2, 3, 4])
    assert without_gaps(gaps.T) == ([0, 1, 2, 3, 4], [0, 1, 2, 4, 5, 6, 7])


def test_no_cells_at_all() -> None:
    found = complete([])
    assert (found.cells, found.seeds, found.missing, found.dropped_seeds) == ([], [], [], [])
    assert found.differences.shape == (0, 0)


def test_sides_that_share_no_seed() -> None:
    found = complete([Side(CELL, {0: 1.0}, {1: 1.0})])
    assert (found.cells, found.missing) == ([], [CELL])


def test_a_seed_that_only_one_side_has() -> None:
    found = complete([Side(CELL, {0: 1.0, 1: 2.0}, {1: 0.5, 2: 0.0})])
    assert (found.seeds, found.differences.tolist()) == ([1], [[1.5]])
