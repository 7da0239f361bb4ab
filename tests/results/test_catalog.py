"""Experiments and their stages as tables: levels keep their types, the newest plan describes."""

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.catalog import catalog, factor_column, level_array
from results.schema import FIXED_COLUMNS, MEMBERS, PARENTS
from tests.results.lab import plan

INTEGERS = st.integers(-(2**53), 2**53)
FLOATS = st.floats(allow_nan=False)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=5)


@given(st.lists(st.none() | INTEGERS))
def test_whole_numbers_stay_whole(levels: list[int | None]) -> None:
    column = level_array(levels)
    assert column.to_pylist() == levels
    assert column.type == (pa.int64() if any(level is not None for level in levels) else pa.string())


@given(st.lists(st.none() | INTEGERS | FLOATS).filter(lambda found: any(type(one) is float for one in found)))
def test_numbers_of_both_sorts_become_real(levels: list[float | None]) -> None:
    column = level_array(levels)
    assert column.type == pa.float64()
    assert column.to_pylist() == levels


@given(st.lists(st.none() | TEXTS))
def test_text_stays_as_it_is(levels: list[str | None]) -> None:
    assert level_array(levels).to_pylist() == levels


@given(st.lists(st.booleans() | INTEGERS | st.lists(INTEGERS, max_size=2), min_size=1))
def test_whatever_else_becomes_text_that_gives_it_back(levels: list[Any]) -> None:
    column = level_array(levels)
    if column.type == pa.string():
        assert [json.loads(value) for value in column.to_pylist()] == levels
    else:
        assert column.to_pylist() == levels


def test_true_is_not_one() -> None:
    assert level_array([True, False, None]).to_pylist() == ["true", "false", None]
    assert level_array([True, 1]).to_pylist() == ["true", "1"]


@pytest.mark.parametrize("name", sorted(FIXED_COLUMNS))
def test_a_factor_steps_aside_for_a_fixed_column(name: str) -> None:
    assert factor_column(name) == f"factor.{name}"
    record = plan({"a": {name: 7}}, {"a": {"eval": "s"}})
    row = catalog([record], {"a": "done"}).experiments.to_pylist()[0]
    assert (row[f"factor.{name}"], row["status"], row["experiment"]) == (7, "done", "a")


def test_a_factor_that_only_one_study_has_is_null_elsewhere() -> None:
    plans = [
        plan({"a": {"seed": 0}}, {"a": {"eval": "s0"}}, study="first"),
        plan({"b": {"size": 0.5, "seed": 1}}, {"b": {"eval": "s1"}}, study="second"),
    ]
    found = catalog(plans, {"a": "done", "b": "pending"}).experiments
    assert found["seed"].to_pylist() == [0, 1]
    assert found["size"].to_pylist() == [None, 0.5]
    assert found["study"].to_pylist() == ["first", "second"]
    assert found.column_names[-1] == "stages"


def test_an_experiment_that_two_plans_list_is_told_once_by_the_newer() -> None:
    plans = [
        plan(
            {"a": {"seed": 0}, "b": {"seed": 1}},
            {"a": {"eval": "old"}, "b": {"eval": "kept"}},
            grid="old.yaml",
        ),
        plan({"a": {"seed": 0}}, {"a": {"sft": "base", "eval": "new"}}, grid="new.yaml"),
    ]
    found = catalog(plans, {"a": "running", "b": "done"})
    rows = {row["experiment"]: row for row in found.experiments.to_pylist()}
    assert len(found.experiments) == 2
    assert (rows["a"]["grid"], rows["b"]["grid"]) == ("new.yaml", "old.yaml")
    assert json.loads(rows["a"]["stages"]) == {"sft": "base", "eval": "new"}
    members = [
        (row["experiment"], row["role"], row["position"], row["stage"]) for row in found.members.to_pylist()
    ]
    assert members == [("b", "eval", 0, "kept"), ("a", "sft", 0, "base"), ("a", "eval", 1, "new")]


def test_an_edge_of_two_plans_is_one_edge() -> None:
    parents = {"dpo": ["sft", "reference"], "reference": ["sft"]}
    plans = [plan({name: {}}, {name: {"dpo": "dpo"}}, parents) for name in ("a", "b")]
    edges = [
        (row["stage"], row["parent"])
        for row in catalog(plans, {"a": "done", "b": "done"}).parents.to_pylist()
    ]
    assert sorted(edges) == [("dpo", "reference"), ("dpo", "sft"), ("reference", "sft")]


def test_no_plans_make_empty_tables_with_their_columns() -> None:
    found = catalog([], {})
    assert (len(found.experiments), len(found.members), len(found.parents)) == (0, 0, 0)
    assert (found.members.schema, found.parents.schema) == (MEMBERS, PARENTS)
