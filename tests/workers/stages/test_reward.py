"""`reward`: rows without end marks, a dense model with a head, exact resume."""

import shutil

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from tests.support.together import Team, distance, divided, stage_of
from tests.support.training import Lab, base_of, lora
from tests.workers.ppo.lab import reward_recipe
from tests.workers.training.test_resume import assert_resume_exact
from workers.data.tokenization import TokenizedPair
from workers.recipe import Execution
from workers.specs.reward import REWARD
from workers.stages.reward import sequences

PAIR = TokenizedPair([1, 5], [7, 8, 2], [9, 2])


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("reward"))


@pytest.fixture(scope="module")
def base(lab):
    return base_of(lab)


def test_the_end_mark_is_seen_only_where_the_recipe_keeps_it():
    assert sequences(reward_recipe(), PAIR) == ([1, 5, 7, 8], [1, 5, 9])
    assert sequences(reward_recipe(end_mark=True), PAIR) == ([1, 5, 7, 8, 2], [1, 5, 9, 2])


@pytest.mark.parametrize("adapter", [None, lora()])
def test_a_dense_model_with_a_head_is_left(lab: Lab, base, adapter):
    ran = lab.run(REWARD, reward_recipe(adapter=adapter), (base,))
    assert not (ran.output / "adapter").exists()
    model = AutoModelForSequenceClassification.from_pretrained(ran.output / "model")
    assert model.score.weight.shape == (1, 32)
    before = AutoModelForSequenceClassification.from_pretrained(base.output / "model", num_labels=1)
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(model.state_dict()[name], before.state_dict()[name])
    assert ran.value("value") > 0.6, "held-out accuracy"
    assert (ran.output / "model" / "tokenizer.json").is_file()


@pytest.mark.parametrize("adapter", [None, lora()])
def test_an_interrupted_training_resumes_exactly(lab: Lab, base, adapter):
    whole = lab.run(REWARD, reward_recipe(adapter=adapter), (base,))
    assert_resume_exact(lab, whole, (base,), 5)


def test_another_seed_draws_another_head(lab: Lab, base):
    one, other = (lab.run(REWARD, reward_recipe(seed=seed), (base,)) for seed in (1, 2))
    assert one.bytes()["model/model.safetensors"] != other.bytes()["model/model.safetensors"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "adapter"),
    [("ddp", None), ("ddp", lora()), ("deepspeed-zero2", None), ("deepspeed-zero3", None)],
)
def test_two_processes_leave_the_model_of_one(lab: Lab, base, strategy: str, adapter, tmp_path) -> None:
    if strategy != "ddp":
        pytest.importorskip("deepspeed", reason="needs yates[deepspeed]")
    still = adapter if adapter is None else adapter.model_copy(update={"dropout": 0.0})
    recipe = reward_recipe(adapter=still)
    one = lab.run(REWARD, recipe, (base,), execution=Execution(device="cpu", micro_batch=2))
    kept = shutil.copytree(one.output, tmp_path / "one")
    shutil.rmtree(lab.workspace.attempts(one.stage.id))
    two = Team(lab, stage_of(lab, REWARD, recipe, (base,)), divided(strategy), "two").run()
    assert distance(two.output, kept) < 1e-5
    assert two.value("value") == pytest.approx(one.value("value"), abs=0.02)
