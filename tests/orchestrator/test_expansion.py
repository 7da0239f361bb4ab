"""Expansion: product, zip, union, exclude, conditional factors; each experiment once."""

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import GridError
from orchestrator.expansion import expand
from orchestrator.factors import Factor, Space, Vector, read_factors
from orchestrator.grid import load_grid
from orchestrator.naming import compile_name
from orchestrator.source import Document
from tests.orchestrator.grids import SMALL, replaced, write

FACTORS = (Factor("a", (1, 2, 3)), Factor("b", ("x", "y")), Factor("c", (True, False)))


def expanded(
    blocks: dict[str, object], where: str | None = None, factors: tuple[Factor, ...] = FACTORS
) -> list[Vector]:
    document = Document("grid.yaml", {"blocks": blocks})
    return expand(document, Space(factors, {}), list(blocks), where)


def test_product_moves_the_last_factor_fastest() -> None:
    found = expanded({"one": {"product": {"a": [1, 2], "b": "all"}}})
    assert found == [(1, "x", None), (1, "y", None), (2, "x", None), (2, "y", None)]


def test_product_of_names_takes_all_levels() -> None:
    assert expanded({"one": {"product": ["b", "c"]}}) == expanded(
        {"one": {"product": {"b": "all", "c": "all"}}}
    )


def test_zip_couples() -> None:
    found = expanded({"one": {"zip": {"a": [1, 2], "b": ["x", "y"]}, "fixed": {"c": True}}})
    assert found == [(1, "x", True), (2, "y", True)]


def test_several_zips_multiply() -> None:
    found = expanded({"one": {"zip": [{"a": [1, 2], "b": ["x", "y"]}, {"c": [True, False]}]}})
    assert found == [(1, "x", True), (1, "x", False), (2, "y", True), (2, "y", False)]


def test_exclude_takes_away() -> None:
    found = expanded({"one": {"product": ["a", "b"], "exclude": ["a == 1 and b == 'x'", "a > 1"]}})
    assert found == [(1, "y", None)]


def test_union_holds_each_experiment_once_in_the_order_of_blocks() -> None:
    found = expanded({"one": {"product": {"a": [2, 1]}}, "two": {"product": {"a": [3, 2]}}})
    assert found == [(2, None, None), (1, None, None), (3, None, None)]


def test_where_selects_of_the_union() -> None:
    blocks: dict[str, object] = {"one": {"product": ["a", "b"]}, "two": {"product": ["c"]}}
    assert expanded(blocks, "a in (1, 2) and b == 'y'") == [(1, "y", None), (2, "y", None)]
    assert expanded(blocks, "a is None and c") == [(None, None, True)]


def test_a_conditional_factor_is_absent_where_its_condition_is_false() -> None:
    factors = (
        Factor("a", (1, 2)),
        Factor("b", ("x", "y"), when="a == 1"),
        Factor("c", (0, 1), when="b == 'x'"),
    )
    found = expanded({"one": {"product": ["a", "b", "c"]}}, factors=factors)
    assert found == [(1, "x", 0), (1, "x", 1), (1, "y", None), (2, None, None)]


def test_true_and_one_are_different_levels() -> None:
    document = Document("grid.yaml", {"factors": {"a": [1], "b": [True]}})
    space = Space(read_factors(document), {})
    space.check_level("a", 1, "here")
    with pytest.raises(GridError, match="unknown level True"):
        space.check_level("a", True, "here")


LEVELS = {"a": (1, 2, 3), "b": ("x", "y"), "c": (True, False)}
CHOSEN = st.fixed_dictionaries(
    {},
    optional={
        name: st.lists(st.sampled_from(levels), min_size=1, unique=True) for name, levels in LEVELS.items()
    },
).filter(bool)


@given(CHOSEN, st.randoms())
def test_a_product_has_every_combination_once_in_any_order_of_its_keys(
    chosen: dict[str, list[object]], random: object
) -> None:
    found = expanded({"one": {"product": chosen}})
    expected = set(product(*(chosen.get(name, [None]) for name in LEVELS)))
    assert len(found) == len(expected)
    assert set(found) == expected
    names = list(chosen)
    random.shuffle(names)  # type: ignore[attr-defined]
    assert set(expanded({"one": {"product": {name: chosen[name] for name in names}}})) == expected


@given(st.lists(CHOSEN, min_size=1, max_size=3), st.sampled_from(["a == 1", "b == 'x' or c", "a is None"]))
def test_where_is_a_filter(parts: list[dict[str, list[object]]], where: str) -> None:
    blocks: dict[str, object] = {str(number): {"product": part} for number, part in enumerate(parts)}
    names = list(LEVELS)
    kept = [one for one in expanded(blocks) if eval(where, {}, dict(zip(names, one, strict=True)))]
    if kept:
        assert expanded(blocks, where) == kept


def test_cells_unite_blocks_and_default_to_the_first(tmp_path: Path) -> None:
    text = SMALL + "cells: {few: [some], every: [all, some]}\n"
    text = replaced("blocks:\n", "blocks:\n  some:\n    fixed: {model: one, method: sft, seed: 0}\n", text)
    path = write(tmp_path, text)
    assert len(load_grid(path).experiments) == 1
    assert len(load_grid(path, cells="every").experiments) == 8
    assert load_grid(path, cells="every").cells == "every"


def test_a_grid_without_scales_presets_or_cells(tmp_path: Path) -> None:
    grid = load_grid(write(tmp_path))
    assert (grid.scale, grid.preset, grid.cells) == ("default", "default", "default")
    assert len(grid.experiments) == 8


@pytest.mark.parametrize(
    ("template", "vector", "name"),
    [
        ("{a}/{b}/s{c}", (1, "x", True), "1/x/sTrue"),
        ("{a}/{b}/s{c}", (1, None, None), "1"),
        ("run/{a}-{b}", (1, "x", None), "run/1-x"),
        ("run/{a}-{b}", (1, None, None), "run"),
        ("plain", (1, None, None), "plain"),
    ],
)
def test_name(template: str, vector: Vector, name: str) -> None:
    assert compile_name(template, Space(FACTORS, {}))(vector) == name


def test_levels_that_an_override_takes_away_may_still_be_named(tmp_path: Path) -> None:
    blocks = """\
  pairs:
    zip: {model: [one, two], method: [dpo, sft]}
    fixed: {seed: 1}
    exclude: [model == "two" and seed == 1 and method == "dpo"]
  zero:
    product: [model, method]
    fixed: {seed: 0}
"""
    path = write(tmp_path, replaced("blocks:\n", "blocks:\n" + blocks))
    fewer = load_grid(path, overrides=["factors.model=[one]", "factors.seed=[1]"])
    assert fewer.experiments == [("one", "dpo", 1), ("one", "sft", 1)]
    with pytest.raises(GridError, match="unknown level 'three'"):
        load_grid(path, where="model == 'three'")


def test_nothing_is_left_of_blocks_whose_levels_were_taken_away(tmp_path: Path) -> None:
    path = write(
        tmp_path, replaced("product: [model, method, seed]", "fixed: {model: one, method: sft, seed: 0}")
    )
    with pytest.raises(GridError, match="no experiment is left"):
        load_grid(path, overrides=["factors.seed=[1]"])


def test_a_number_is_compared_by_its_value() -> None:
    assert expanded({"one": {"product": ["a"]}}, "a == 2.0") == [(2, None, None)]
    with pytest.raises(GridError, match="unknown level 7 of factor 'a'"):
        expanded({"one": {"product": ["a"]}}, "a in (1, 7)")
