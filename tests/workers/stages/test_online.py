"""`rloo` and `grpo`: what a run leaves, TRL's advantages, exact resume, learning, and bad input."""

import shutil
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from tests.support.training import Lab, Ran, base_of, short
from tests.workers.ppo.lab import ADAPTER, PREFERENCES, VICUNA, reward_of
from tests.workers.training.test_resume import assert_resume_exact
from workers.context import BadInput, Parent
from workers.models.adapters import load_adapter_tensors
from workers.models.loading import trained_model
from workers.online.reward import RewardModel
from workers.online.trainers import OnlineTrainer
from workers.recipe import Execution
from workers.specs.evaluate import EVALUATE, EvaluateRecipe
from workers.specs.model import LLAMA_PROJECTIONS, ModelRecipe, ModelShape
from workers.specs.online import GRPO, RLOO, GrpoRecipe, OnlineRecipe, RlooRecipe
from workers.training.callbacks import snapshot_directory
from workers.training.replay import replay_to_step

STEPS = 4
KINDS = {RlooRecipe: RLOO, GrpoRecipe: GRPO}
PLAIN = ADAPTER.model_copy(update={"dropout": 0.0})


def recipe_of(kind: type[OnlineRecipe] = RlooRecipe, **others: Any) -> OnlineRecipe:
    training = {"training": short(STEPS, 5e-3).model_copy(update={"batch_size": 8})}
    given = {"adapter": PLAIN, "preferences": PREFERENCES, "template": VICUNA, "prompt_tokens": 40}
    sizes = {"max_completion_length": 6, "num_generations": 4, "beta": 0.1}
    return kind(**given | sizes | training | others)


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("online"))


@pytest.fixture(scope="module")
def parents(lab) -> tuple[Parent, Parent]:
    base = base_of(lab)
    return base, reward_of(lab, base)


def ran(lab: Lab, recipe: OnlineRecipe, parents: tuple[Parent, ...], **others: Any) -> Ran:
    return lab.run(KINDS[type(recipe)], recipe, parents, **others)


def curves(found: Ran) -> dict[str, list[float]]:
    columns: dict[str, list[float]] = {}
    for row in pq.read_table(found.output / "curves.parquet").to_pylist():
        columns.setdefault(row["name"], []).append(row["value"])
    return columns


@pytest.mark.parametrize("kind", [RlooRecipe, GrpoRecipe])
def test_a_run_leaves_an_adapter_with_curves_and_ppos_figures(lab, parents, kind):
    found = ran(lab, recipe_of(kind), parents, execution=Execution(device="cpu", snapshots=(2,)))
    assert set(found.bytes()) == {
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "curves.parquet",
        "samples.parquet",
    }
    logged = curves(found)
    named = {
        "score",
        "score_std",
        "true_kl",
        "entropy",
        "response_length",
        "ended",
        "loss",
        "grad_norm",
        "kl",
    }
    assert named <= set(logged)
    assert not [name for name in logged if "time" in name]
    assert all(len(values) == STEPS for values in logged.values())
    assert abs(logged["true_kl"][0]) < 1e-6 < logged["true_kl"][-1]
    primary = {row["task"]: row["value"] for row in found.result.metrics if row["primary"]}
    assert set(primary) == {"score", "true_kl", "entropy", "response_length"}
    assert primary["score"] == pytest.approx(np.mean(logged["score"]))
    samples = pq.read_table(found.output / "samples.parquet").to_pylist()
    assert len(samples) == 8 and samples[0]["prompt"] == samples[3]["prompt"] != samples[4]["prompt"]
    stage = lab.stage(EVALUATE, EvaluateRecipe(step=2), (found.parent("trained"),))
    context = lab.context(stage, (found.parent("trained"),))
    with trained_model(context, ModelRecipe(), step=2) as (model, _):
        assert hasattr(model, "peft_config")
    kept = snapshot_directory(found.output, 2) / "adapter" / "adapter_model.safetensors"
    again = replay_to_step(context, found.parent("trained"), 2) / "adapter" / "adapter_model.safetensors"
    assert kept.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("kind", [RlooRecipe, GrpoRecipe])
def test_advantages_are_those_of_the_method(lab, parents, kind, monkeypatch):
    seen: list[tuple[list[float], list[float]]] = []
    plain = OnlineTrainer._generate_and_score_completions

    def watched(self: OnlineTrainer, inputs: Any) -> Any:
        output = plain(self, inputs)
        seen.append((list(self.last_scores), output["advantages"].tolist()))
        return output

    monkeypatch.setattr(OnlineTrainer, "_generate_and_score_completions", watched)
    ran(lab, recipe_of(kind, seed=2), parents)
    scores, advantages = (np.reshape(each, (2, 4)) for each in seen[0])
    others = (scores.sum(1, keepdims=True) - scores) / 3
    scaled = (scores - scores.mean(1, keepdims=True)) / (scores.std(1, ddof=1, keepdims=True) + 1e-4)
    wanted = scores - others if kind is RlooRecipe else scaled
    np.testing.assert_allclose(advantages, wanted, rtol=1e-4, atol=1e-5)


RESUMED = {
    "rloo": recipe_of(),
    "rloo-dropout": recipe_of(adapter=ADAPTER, seed=1),
    "rloo-inside-a-generation": recipe_of(generation_batch_size=16, num_iterations=2, adapter=ADAPTER),
    "grpo-inside-a-generation": recipe_of(GrpoRecipe, generation_batch_size=16, adapter=ADAPTER),
}


@pytest.mark.parametrize("name", RESUMED)
def test_an_interrupted_run_goes_on_bit_for_bit(lab, parents, name):
    whole = ran(lab, RESUMED[name], parents, memory={})
    assert_resume_exact(lab, whole, parents, 3)


def test_micro_batches_change_rounding_alone(lab, parents):
    whole = ran(lab, recipe_of(seed=4), parents)
    parts = ran(lab, recipe_of(seed=4), parents, execution=Execution(device="cpu", micro_batch=2))
    one, other = (load_adapter_tensors(each.output / "adapter") for each in (whole, parts))
    for name, tensor in one.items():
        np.testing.assert_allclose(tensor, other[name], rtol=1e-3, atol=1e-5)
    assert curves(parts)["score"] == pytest.approx(curves(whole)["score"], rel=1e-3)


@pytest.mark.parametrize("kind", [RlooRecipe, GrpoRecipe])
def test_it_moves_towards_a_known_optimum(lab, kind, monkeypatch):
    """A bandit: half of all words are worth 1, the others nothing."""
    shape = ModelShape(
        hidden_size=32, layers=2, heads=2, key_value_heads=1, intermediate_size=64, initializer_range=0.1
    )
    base = base_of(lab, training=short(60, 6e-3), model=ModelRecipe(shape=shape))
    rule = lambda self, prompts, answers, ended: [float(ids[0] % 2 == 0) for ids in answers]  # noqa: E731
    monkeypatch.setattr(RewardModel, "score", rule)
    wide = {"rank": 8, "alpha": 32, "target_modules": LLAMA_PROJECTIONS}
    recipe = recipe_of(
        kind,
        adapter=PLAIN.model_copy(update=wide),
        beta=0.0,
        max_completion_length=1,
        training=short(40, 1e-2).model_copy(update={"batch_size": 64}),
    )
    found = curves(ran(lab, recipe, (base, reward_of(lab, base)), memory={}))["score"]
    assert np.mean(found[:3]) < 0.5
    assert np.mean(found[-3:]) > 0.65


def test_a_score_that_is_no_number_is_a_stored_divergence(lab, parents, tmp_path):
    base, reward = parents
    shutil.copytree(reward.output, tmp_path / "output")
    weights = tmp_path / "output" / "model" / "model.safetensors"
    tensors = load_file(weights)
    tensors["score.weight"].fill_(float("nan"))
    save_file(tensors, weights, metadata={"format": "pt"})
    broken = Parent("reward", reward.stage, tmp_path / "output", [])
    found = ran(lab, recipe_of(seed=6), (base, broken), memory={})
    assert found.result.outcome == "diverged"
    assert "step 1: score is nan" in found.result.message
    assert (found.output / "adapter").is_dir()


def test_bad_input_is_said(lab, parents):
    with pytest.raises(BadInput, match="`rloo` needs a parent in role `reward`"):
        ran(lab, recipe_of(), parents[:1])
    with pytest.raises(BadInput, match="`grpo` needs exactly one of"):
        ran(lab, recipe_of(GrpoRecipe, preferences=None), parents)
    with pytest.raises(BadInput, match="more than the 256 positions"):
        ran(lab, recipe_of(max_completion_length=250), parents, memory={})
    with pytest.raises(BadInput, match="no prompt is left"):
        ran(lab, recipe_of(prompt_tokens=2), parents)
