"""A model leaves the workspace with its card."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from orchestrator.cli.main import app
from orchestrator.export import export_model
from results.files import WorkspaceError
from results.layout import Workspace
from tests.orchestrator.lab import Lab, _commit, stage_id
from workers.context import metric
from workers.kinds import find_kind
from workers.specs.sft import SftRecipe
from workers.stage import Stage

HUB = "HuggingFaceTB/SmolLM2-135M"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(Workspace(tmp_path / "runs"))


def train(lab: Lab, name: str, base: str = HUB) -> None:
    """Commit a training that leaves an adapter."""
    stage = stage_id(name)
    Stage(stage, find_kind("sft"), SftRecipe(seed=3), ()).write(lab.workspace)
    attempt = lab.claim(name)
    adapter = attempt.directory / "output" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    assert attempt.commit(_commit(attempt, "done", [metric("sft", 0.5, metric="loss", primary=True)]))


def figures() -> tuple:
    return (
        metric("mmlu", 0.4, metric="accuracy", stderr=0.05, n=100, unit="share", primary=True),
        metric("mmlu", 0.7, metric="subject.zoology", n=10),
    )


def test_the_folder_holds_the_model_as_it_was_left(lab: Lab, tmp_path: Path) -> None:
    train(lab, "train-sft-0")
    found = export_model(lab.view(), "sft/s0", tmp_path / "out")
    assert found.stage.id == stage_id("train-sft-0")
    assert (tmp_path / "out" / "adapter_model.safetensors").read_bytes() == b"weights"


def test_the_card_is_one_and_holds_the_primary_figures(lab: Lab, tmp_path: Path) -> None:
    train(lab, "train-sft-0")
    lab.finish("eval-sft-0", metrics=figures())
    export_model(lab.view(), "sft/s0", tmp_path / "out")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.base_model == HUB and card.data.library_name == "peft"
    told = {(one.dataset_name, one.metric_type): one.metric_value for one in card.data.eval_results}
    assert told == {("sft", "loss"): 0.5, ("mmlu", "accuracy"): 0.4}
    assert "| mmlu" in card.text and "0.05" in card.text and "zoology" not in card.text
    assert "| method" in card.text and '"seed": 3' in card.text


def test_a_base_of_the_same_workspace_is_no_hub_id(lab: Lab, tmp_path: Path) -> None:
    train(lab, "train-sft-0", base="stage-0123")
    export_model(lab.view(), "sft/s0", tmp_path / "out")
    assert ModelCard.load(tmp_path / "out" / "README.md").data.base_model is None


def test_an_experiment_that_left_no_model_says_so(lab: Lab, tmp_path: Path) -> None:
    lab.finish("train-sft-1")
    with pytest.raises(WorkspaceError, match="left no model"):
        export_model(lab.view(), "sft/s1", tmp_path / "out")


def test_a_folder_with_something_in_it_is_left_alone(lab: Lab, tmp_path: Path) -> None:
    train(lab, "train-sft-0")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(WorkspaceError, match="not empty"):
        export_model(lab.view(), "sft/s0", tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_the_command_writes_the_folder(lab: Lab, tmp_path: Path) -> None:
    train(lab, "train-sft-0")
    arguments = ["export", "sft/s0", "-d", str(tmp_path / "out"), "-w", str(lab.workspace.root)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "README.md" in done.output and (tmp_path / "out" / "README.md").exists()
