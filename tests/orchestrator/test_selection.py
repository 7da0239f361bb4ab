"""`--where` on recorded levels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import GridError
from orchestrator.selection import chooser, none_selected

ROWS = [
    {"model": "one", "rate": 0.1, "seed": 0, "merge": None},
    {"model": "one", "rate": 0.2, "seed": 1, "merge": "slerp"},
    {"model": "two", "rate": 0.1, "seed": 0, "merge": None},
]


def test_without_a_condition_every_row_is_chosen() -> None:
    assert all(map(chooser(None, ROWS), [*ROWS, {}]))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("model == 'one'", [True, True, False]),
        ("rate <= 0.1", [True, False, True]),
        ("model == 'one' and seed == 1", [False, True, False]),
        ("merge == 'slerp'", [False, True, False]),
        ("merge != 'slerp'", [True, False, True]),
        ("merge == None", [True, False, True]),
        ("model in ('one', 'two')", [True, True, True]),
    ],
)
def test_conditions_over_levels(where: str, expected: list[bool]) -> None:
    assert [chooser(where, ROWS)(row) for row in ROWS] == expected


def test_rows_may_have_different_factors() -> None:
    rows = [{"model": "one"}, {"method": "dpo"}]
    chosen = chooser("method == 'dpo'", rows)
    assert [chosen(row) for row in rows] == [False, True]


def test_a_level_that_no_row_has_is_a_mistake_unless_it_is_a_number_column() -> None:
    with pytest.raises(GridError, match="unknown level 9"):
        chooser("seed == 9", ROWS)
    assert not any(map(chooser("seed == 9", ROWS, ["seed"]), ROWS))


def test_a_factor_that_no_row_has_names_the_nearest() -> None:
    with pytest.raises(GridError, match=r"--where modle == 'one'.*did you mean 'model'\?"):
        chooser("modle == 'one'", ROWS)


@pytest.mark.parametrize("where", ["__import__('os')", "model.__class__", "open('x')", "model == "])
def test_only_comparisons_are_conditions(where: str) -> None:
    with pytest.raises(GridError):
        chooser(where, ROWS)


def test_a_condition_that_holds_for_nothing_is_a_mistake() -> None:
    assert str(none_selected("seed == 1")) == (
        "--where seed == 1: selects none of the experiments of this workspace"
    )


LEVELS = st.one_of(st.integers(-3, 3), st.sampled_from(["a", "b"]), st.booleans())


@given(rows=st.lists(st.fixed_dictionaries({"x": LEVELS, "y": LEVELS}), min_size=1), data=st.data())
def test_a_condition_and_its_negation_part_the_rows(rows, data) -> None:
    level = data.draw(st.sampled_from([row["x"] for row in rows]))
    holds, fails = (chooser(text, rows) for text in (f"x == {level!r}", f"not x == {level!r}"))
    assert all(holds(row) != fails(row) for row in rows)
    assert any(map(holds, rows))
