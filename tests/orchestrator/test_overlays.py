"""Scales, presets and --set: what they replace, what they keep, and where the result says it was written."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import GridError
from orchestrator.grid import Grid, load_grid
from orchestrator.overlays import apply_overlay, apply_override
from orchestrator.plan import plan_grid
from orchestrator.source import Document, read_document
from tests.orchestrator.grids import SMALL, write

OVERLAID = """\
base: {a: 1, deep: {x: [1, 2], y: 2}, list: [{z: 1}]}
reference: "${base.deep}"
layers:
  one:
    base: {deep: {x: [3]}, new: 4}
  two:
    base: {a: {b: 1}, deep: null}
"""


def document_of(directory: Path, text: str = OVERLAID) -> Document:
    return read_document(write(directory, text))


def test_mappings_merge_and_all_else_is_replaced(tmp_path: Path) -> None:
    document = document_of(tmp_path)
    apply_overlay(document, ("layers", "one"))
    assert document.values["base"] == {"a": 1, "deep": {"x": [3], "y": 2}, "list": [{"z": 1}], "new": 4}
    apply_overlay(document, ("layers", "two"))
    assert document.values["base"] == {"a": {"b": 1}, "deep": None, "list": [{"z": 1}], "new": 4}


def test_places_follow_the_values(tmp_path: Path) -> None:
    document = document_of(tmp_path)
    path = document.name
    apply_overlay(document, ("layers", "one"))
    assert document.place(("base", "deep", "x", 0)) == f"{path}:5"
    assert document.place(("base", "deep", "y")) == f"{path}:1"
    assert document.place(("base", "new")) == f"{path}:5"


def test_an_overlay_is_not_changed_by_what_comes_over_it(tmp_path: Path) -> None:
    document = document_of(tmp_path)
    apply_overlay(document, ("layers", "one"))
    apply_override(document, "base.deep.x.0=9")
    assert document.values["base"]["deep"]["x"] == [9]
    assert document.values["layers"]["one"]["base"]["deep"]["x"] == [3]


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("base.a=5", ("base", "a"), 5),
        ("base.a=1e-4", ("base", "a"), 1e-4),
        ("base.a=word", ("base", "a"), "word"),
        ("base.a=", ("base", "a"), None),
        ("base.deep={q: [1]}", ("base", "deep"), {"q": [1]}),
        ("base.list.0.z=7", ("base", "list", 0, "z"), 7),
        ("base.deep.new=1", ("base", "deep", "new"), 1),
    ],
)
def test_override(override: str, path: tuple[Any, ...], value: object, tmp_path: Path) -> None:
    document = document_of(tmp_path)
    apply_override(document, override)
    assert document.get(path) == value
    assert document.place(path) == f"--set {override}"


@pytest.mark.parametrize(
    "override", ["base.neww=1", "base.a.b=1", "base.list.1.z=3", "=1", "basee=1", "base.deep=["]
)
def test_override_of_nothing(override: str, tmp_path: Path) -> None:
    document = document_of(tmp_path)
    with pytest.raises(GridError, match="--set"):
        apply_override(document, override)


LAYERS = """\
defaults: {scale: small, preset: plain}
scales:
  tiny: {rates: {dpo: 1e-1}, factors: {seed: [5]}}
  small: {rates: {dpo: 2e-1}}
presets:
  plain: {}
  odd: {rates: {dpo: 3e-1}}
"""


def rate(grid: Grid) -> float:
    plan = plan_grid(grid)
    dpo = next(one for one in plan.experiments if one.levels[1] == "dpo")
    return plan.stages[dpo.stages["train"]].recipe.training.learning_rate  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ({}, 2e-1),
        ({"scale": "tiny"}, 1e-1),
        ({"scale": "tiny", "preset": "odd"}, 3e-1),
        ({"preset": "odd", "overrides": ["rates.dpo=4e-1"]}, 4e-1),
        ({"overrides": ["rates.dpo=4e-1", "rates.dpo=5e-1"]}, 5e-1),
    ],
)
def test_order_of_layers(choices: dict[str, Any], expected: float, tmp_path: Path) -> None:
    assert rate(load_grid(write(tmp_path, SMALL + LAYERS), **choices)) == expected


def test_a_scale_may_change_factors(tmp_path: Path) -> None:
    grid = load_grid(write(tmp_path, SMALL + LAYERS), scale="tiny")
    assert {vector[2] for vector in grid.experiments} == {5}


@pytest.mark.parametrize(
    "override",
    [
        "pipeline.train.recipe.training.epsilon=1e-6",
        "pipeline.train.execution.micro_batch=2",
        "pipeline.evaluate.recipe.benchmarks.0.limit=5",
    ],
)
def test_new_keys_where_pydantic_will_judge_them(override: str, tmp_path: Path) -> None:
    grid = load_grid(write(tmp_path), overrides=[override])
    assert len(plan_grid(grid).experiments) == 8


def test_an_execution_is_outside_the_identity(tmp_path: Path) -> None:
    path = write(tmp_path)
    plain = plan_grid(load_grid(path))
    other = plan_grid(load_grid(path, overrides=["pipeline.train.execution.micro_batch=2"]))
    assert [stage.id for stage in plain.stages] == [stage.id for stage in other.stages]
    assert {stage.execution.micro_batch for stage in other.stages if stage.name == "train"} == {2}


def test_an_overlay_that_is_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(GridError, match=r"grid\.yaml:35: scales\.tiny must be a mapping, not 3"):
        load_grid(write(tmp_path, SMALL + "scales: {tiny: 3}\n"))
