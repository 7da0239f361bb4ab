"""`yates data check` on mapped files: counts against the published ones, and problems that stop nothing else."""

import json
import lzma
from pathlib import Path

import pytest

from orchestrator.data.check import check
from orchestrator.grid import load_grid
from orchestrator.plan import plan_grid
from tests.orchestrator.data.conftest import lines, pair

ALIGNMENT = Path(__file__).parents[3] / "grids" / "alignment.yaml"


@pytest.fixture
def mirror(tmp_path: Path, pairs: dict[str, bytes]) -> Path:
    for name, content in pairs.items():
        path = tmp_path / "mirror" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "mirror"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).write_text("{}")
    return folder


def checked(grid: Path, mirror: Path, model: Path, *overrides: str, where: str = 'model == "open"'):
    plan = plan_grid(
        load_grid(grid, where=where, overrides=overrides), {"org/pairs": str(mirror), "org/open": str(model)}
    )
    return {one.need.identity.hub: one for one in check(plan)}


def test_pairs_are_counted_for_training_and_testing(grid, mirror, model) -> None:
    found = checked(grid, mirror, model)
    assert not [one.problems for one in found.values() if one.problems]
    counts = {
        (one.preference, one.split): (one.read, one.usable, one.expected) for one in found["org/pairs"].counts
    }
    assert counts == {("harmless", "train"): (20, 20, 20), ("helpful", "test"): (4, 4, None)}


def test_a_count_that_is_not_the_published_one_is_a_problem(grid, mirror, model) -> None:
    found = checked(grid, mirror, model, "expected_pairs.harmless=46625")["org/pairs"]
    (problem,) = found.problems
    assert "20 usable" in problem and "46,625" in problem and "--set" in problem
    assert len(found.counts) == 2


def test_the_deliberate_way_on_is_a_setting_of_the_shipped_grids(tmp_path) -> None:
    overrides = ["expected_pairs.hh-rlhf=null", "expected_pairs.beavertails=null"]
    grid = load_grid(ALIGNMENT, scale="paper", where="seed == 0", overrides=overrides)
    recipes = [stage.recipe for stage in plan_grid(grid).stages]
    assert {recipe.preferences.expected_pairs for recipe in recipes if hasattr(recipe, "preferences")} == {
        None
    }


def test_a_broken_file_an_empty_one_and_a_missing_model_are_told_and_the_rest_goes_on(
    grid, mirror, model
) -> None:
    (mirror / "round0" / "train.jsonl.xz").write_bytes(b"not xz")
    empty = lines({**pair(0), "response_0": " "})
    (mirror / "round0" / "test.jsonl.xz").write_bytes(lzma.compress(empty))
    found = checked(grid, mirror, model, where='model in ("open", "absent")')
    said = "\n".join(found["org/pairs"].problems)
    assert "train.jsonl.xz cannot be read" in said
    assert "none of 1 rows is usable: {'empty': 1}" in said
    assert found["org/absent"].problems == ["is not on this machine"]
    assert not found["org/open"].problems


def test_the_command_prints_and_fails(yates, grid, mirror, model, tmp_path) -> None:
    (tmp_path / "hub.yaml").write_text(json.dumps({"org/pairs": str(mirror), "org/open": str(model)}))
    common = ("data", "check", grid, "--hub-map", tmp_path / "hub.yaml")
    code, text = yates(*common, "--where", 'model == "open"')
    assert code == 0
    assert "beavertails harmless train: 20 rows, 20 usable (published: 20, +0); dropped: none" in text
    code, text = yates(*common, "--where", 'model in ("open", "absent")', "--no-count")
    assert code == 1
    assert "problem: model org/absent: is not on this machine" in text
    assert "--fetch" in text
    code, text = yates(*common, "--where", 'model == "open"', "--json")
    (need,) = [one for one in json.loads(text)["needs"] if one["id"] == "org/pairs"]
    assert need["found"] == "mapped" and need["counts"][0]["usable"] == 20
