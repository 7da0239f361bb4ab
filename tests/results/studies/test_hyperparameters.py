"""Table T6: settings read from the stages of a workspace, beside those that the paper prints."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from results.files import WorkspaceError
from results.studies.alignment import study as alignment
from results.studies.alignment.cells import Cell
from results.studies.alignment.curves import batch_sizes
from results.studies.alignment.hyperparameters import FILE, Hyperparameter
from results.studies.measurements import read_measurements
from results.studies.recipes import stage_recipes, values
from results.studies.settings import read_settings
from tests.results.lab import Lab
from workers.specs.data import PreferenceData
from workers.specs.dpo import DPO, DpoRecipe
from workers.specs.model import LoraRecipe, QuantizationRecipe
from workers.specs.sft import SFT, SftRecipe
from workers.specs.training import Training
from workers.stage import Stage

ROOT = Path(__file__).parents[3]
ROWS = {one.path: one for one in read_settings(FILE, list[Hyperparameter])}
CELL = Cell("mistral-7b", "beavertails", "harmless", "sft", "qlora", "single")
NF4 = QuantizationRecipe()


def recipes(rate: float = 2e-4, quantization: QuantizationRecipe | None = NF4) -> dict[str, Any]:
    adapter = LoraRecipe(rank=64, quantization=quantization)
    pairs = PreferenceData(samples=100)
    return {
        "sft": SftRecipe(
            adapter=adapter, preferences=pairs, training=Training(learning_rate=rate, batch_size=8)
        ),
        "dpo": DpoRecipe(adapter=adapter, preferences=pairs, beta=0.3),
    }


def workspace(root: Path, runs: list[dict[str, Any]], written: bool = True) -> Lab:
    """A workspace with an SFT and a DPO experiment for each pair of recipes."""
    lab = Lab.at(root)
    levels, pipelines = {}, {}
    for seed, pair in enumerate(runs):
        for method, recipe in pair.items():
            stage = Stage.create({"sft": SFT, "dpo": DPO}[method], recipe.model_copy(update={"seed": seed}))
            if written:
                stage.write(lab.workspace)
            name = f"{method}/{seed}"
            levels[name] = {**CELL._replace(method=method)._asdict(), "seed": seed}
            pipelines[name] = {method: stage.id, "evaluate": f"{name}/evaluate"}
    lab.plan(levels, pipelines)
    return lab


def shown(lab: Lab, published: bool = False) -> dict[str, list[str]]:
    table = alignment.table("T6", lab.workspace, published=published)
    return {row[0]: list(row[1:]) for row in table.rows}


def test_settings_are_those_of_the_stages(tmp_path) -> None:
    rows = shown(workspace(tmp_path / "runs", [recipes()]))
    assert rows["learning rate"] == ["0.0002", "0.0002"]
    assert rows["LoRA rank"] == ["64", "64"]
    assert rows["batch size"] == ["8", "16"]
    assert rows["DPO beta"] == ["", "0.3"]
    assert rows["prompt masked from the loss"] == ["True", ""]
    assert rows["4-bit format of QLoRA"] == ["nf4", "nf4"]
    assert rows["samples drawn"] == ["100", "100"]
    assert rows["target modules"][0].startswith("q_proj, k_proj")


def test_a_setting_on_which_experiments_differ_lists_its_values(tmp_path) -> None:
    lab = workspace(tmp_path / "runs", [recipes(1e-3), recipes(1e-2, None)])
    rows = shown(lab)
    assert rows["learning rate"][0] == "0.001; 0.01"
    assert rows["4-bit format of QLoRA"] == ["nf4; none", "nf4; none"]
    assert "SFT: 2 stages." in alignment.table("T6", lab.workspace).notes


def test_published_values_stand_beside(tmp_path) -> None:
    table = alignment.table("T6", workspace(tmp_path / "runs", [recipes()]).workspace, published=True)
    assert list(table.header) == ["setting", "SFT", "SFT published", "DPO", "DPO published"]
    assert ["LoRA rank", "64", "64", "64", "16"] in table.rows


def test_a_stage_that_was_never_written_is_a_message(tmp_path) -> None:
    lab = workspace(tmp_path / "runs", [recipes()], written=False)
    with pytest.raises(WorkspaceError, match="the stage is planned, but was never written"):
        alignment.table("T6", lab.workspace)


@pytest.mark.parametrize("content", ["{}", "[]", '"text"'])
def test_a_stage_file_that_is_none_is_a_message(tmp_path, content: str) -> None:
    lab = workspace(tmp_path / "runs", [recipes()])
    path = next(lab.workspace.stages.rglob("stage.json"))
    path.write_text(content)
    with pytest.raises(WorkspaceError, match=r"stage\.json: not a stage"):
        alignment.table("T6", lab.workspace)


def test_batches_count_samples_only_where_all_stages_agree(tmp_path) -> None:
    lab = workspace(tmp_path / "runs", [recipes()])
    assert batch_sizes(read_measurements(lab.workspace, "alignment")) == {"sft": 8, "dpo": 16}
    other = recipes()
    other["sft"] = other["sft"].model_copy(update={"training": Training(batch_size=4)})
    lab = workspace(tmp_path / "mixed", [recipes(), other])
    assert batch_sizes(read_measurements(lab.workspace, "alignment")) == {"dpo": 16}


def test_the_recipes_of_a_role_by_experiment(tmp_path) -> None:
    found = read_measurements(workspace(tmp_path / "runs", [recipes()]).workspace, "alignment")
    assert set(stage_recipes(found, "dpo")) == {"dpo/0"}
    assert stage_recipes(found, "merge") == {}


def test_values_of_a_path() -> None:
    settings = [{"a": {"b": 1.0}}, {"a": {"b": 2e-5}}, {"a": None}, {"c": 1}, {"a": {"b": ["x", "y"]}}]
    assert values(settings, "a.b") == "1; 2e-05; none; x, y"
    assert values(settings, "d") == ""


@pytest.mark.parametrize("path", ROWS)
def test_every_row_is_a_setting_of_a_recipe(path: str) -> None:
    """A setting that is renamed would leave its row empty without a word."""
    found = [recipe.model_dump(mode="json") for recipe in recipes().values()]
    assert values(found, path) != ""


@pytest.mark.parametrize("method", ["sft", "dpo"])
@pytest.mark.parametrize("path", [path for path in ROWS if path.partition(".")[0] in ("training", "adapter")])
def test_the_grid_has_the_published_recipes(method: str, path: str) -> None:
    printed = getattr(ROWS[path], method)
    recipe = yaml.safe_load((ROOT / "grids" / "alignment.yaml").read_text())["recipes"][method]
    default = LoraRecipe if path.startswith("adapter") else Training
    whole = {"training": Training().model_dump() | recipe["training"], "adapter": recipe["adapter"]}
    if printed == "–" or "quantization" in path:
        return
    given = values([whole], path)
    assert default is not None
    assert given == printed or float_of(given) == float_of(printed) or given.startswith("paged_adamw")


def float_of(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
