"""What a plan needs: every model and data set once, with the files that are read of it."""

from pathlib import Path

import pytest

from orchestrator.data.needs import Need, needs_of
from orchestrator.grid import load_grid
from orchestrator.plan import plan_grid

ALIGNMENT = Path(__file__).parents[3] / "grids" / "alignment.yaml"
PINNED = {
    "Anthropic/hh-rlhf": "09be8c5bbc57cb3887f3a9732ad6aa7ec602a1fa",
    "PKU-Alignment/PKU-SafeRLHF": "ff7ba91063016c78a225b0f74e1c0860bb18230f",
    "SaylorTwift/bbh": "b5306be6f827cfafbb545ff5a51f96916029b0fd",
    "cais/mmlu": "c30699e8356da336a370243923dbaf21066bb9fe",
}


@pytest.fixture
def paper(empty_cache) -> dict[str, Need]:
    plan = plan_grid(load_grid(ALIGNMENT, scale="paper", where="seed == 0"))
    return {need.identity.hub: need for need in needs_of(plan)}


def test_the_published_models_and_data_are_needed_once_at_their_revisions(paper) -> None:
    data = {
        name: need.identity.revision for name, need in paper.items() if need.identity.repository == "dataset"
    }
    assert data.items() >= PINNED.items()
    models = {name for name, need in paper.items() if need.identity.repository == "model"}
    assert models >= {"huggyllama/llama-7b", "mistralai/Mistral-7B-Instruct-v0.1", "lmsys/vicuna-7b-v1.3"}


def test_only_the_files_that_are_read_are_asked_for(paper) -> None:
    assert "*-base/*.jsonl.gz" in paper["Anthropic/hh-rlhf"].patterns
    assert "round0/*.jsonl.xz" in paper["PKU-Alignment/PKU-SafeRLHF"].patterns
    assert paper["cais/mmlu"].patterns == ["all/dev-*.parquet", "all/test-*.parquet"]
    assert "*.safetensors" in paper["huggyllama/llama-7b"].patterns
    assert not any(pattern.endswith(".bin") for pattern in paper["huggyllama/llama-7b"].patterns)


def test_the_longest_rows_that_a_model_gets_are_known(paper) -> None:
    assert paper["mistralai/Mistral-7B-v0.1"].longest == 2048


def test_training_and_held_out_pairs_are_told_apart(paper) -> None:
    need = paper["Anthropic/hh-rlhf"]
    assert {data.preference for data in need.training} == {"harmless", "helpful"}
    assert all(data.expected_pairs is not None for data in need.training)
    assert {data.preference for data in need.testing} == {"harmless", "helpful"}
    assert "preference_accuracy" not in need.purposes or need.testing


def test_the_tiny_scale_needs_the_embedded_world_alone() -> None:
    (need,) = needs_of(plan_grid(load_grid(ALIGNMENT, where="seed == 0")))
    assert need.identity.embedded


def test_the_other_data_set_of_an_equalised_draw_is_needed_too(empty_cache) -> None:
    where = 'seed == 0 and dataset == "hh-rlhf" and variant == "single" and method == "sft"'
    plan = plan_grid(load_grid(ALIGNMENT, scale="paper", preset="equalised", where=where))
    needs = {need.identity.hub: need for need in needs_of(plan)}
    assert "round0/*.jsonl.xz" in needs["PKU-Alignment/PKU-SafeRLHF"].patterns
