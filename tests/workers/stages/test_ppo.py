"""`ppo`: what a run leaves, what it proves about itself, and bad input."""

import shutil
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from tests.support.training import NF4, Lab, Ran, base_of, short
from tests.workers.ppo.lab import (
    ADAPTER,
    ROLLOUT,
    STEPS,
    ppo_recipe,
    reward_of,
    training,
    without_dropout,
)
from workers.context import BadInput, Parent
from workers.models.adapters import load_adapter_tensors
from workers.models.loading import trained_model
from workers.ppo.sampling import Sampler
from workers.recipe import Execution
from workers.specs.evaluate import EVALUATE, EvaluateRecipe
from workers.specs.model import LLAMA_PROJECTIONS, ModelRecipe, ModelShape
from workers.specs.ppo import PPO, Estimation, PpoRecipe, Regularizer
from workers.training.callbacks import snapshot_directory
from workers.training.replay import replay_to_step

PARTS = Execution(device="cpu", micro_batch=2)


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("ppo"))


@pytest.fixture(scope="module")
def parents(lab) -> tuple[Parent, Parent]:
    base = base_of(lab)
    return base, reward_of(lab, base)


def curves(ran: Ran) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row in pq.read_table(ran.output / "curves.parquet").to_pylist():
        found.setdefault(row["name"], []).append(row["value"])
    return found


def test_a_run_leaves_adapters_curves_samples_and_figures(lab, parents):
    ran = lab.run(PPO, ppo_recipe(), parents)
    assert set(ran.bytes()) == {
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "curves.parquet",
        "samples.parquet",
        "value.safetensors",
    }
    found = curves(ran)
    always = {
        "true_kl",
        "entropy",
        "score",
        "response_length",
        "policy_clipped",
        "explained_variance",
        "ended",
    }
    assert always <= set(found)
    assert all(len(values) == STEPS for values in found.values())
    primary = {row["task"] for row in ran.result.metrics if row["primary"]}
    assert primary == {"score", "true_kl", "entropy", "response_length"}
    samples = pq.read_table(ran.output / "samples.parquet").to_pylist()
    assert len(samples) == ROLLOUT.batch_size
    assert {row["verdict"] for row in samples} <= {"ended", "cut"}


def test_it_starts_at_the_reference_and_leaves_it(lab, parents):
    found = curves(lab.run(PPO, ppo_recipe(), parents))
    assert found["true_kl"][0] == found["sampled_kl"][0] == 0.0
    assert found["true_kl"][-1] > 0.0
    assert max(found["rollout_gap"]) < 1e-5


def test_distributions_are_read_at_every_so_many_steps_and_training_is_the_same(lab, parents):
    always = lab.run(PPO, without_dropout(), parents)
    rollout = ROLLOUT.model_copy(update={"distributions_every": 2})
    seldom = lab.run(PPO, without_dropout(rollout=rollout), parents)
    steps = {
        row["step"]
        for row in pq.read_table(seldom.output / "curves.parquet").to_pylist()
        if row["name"] == "true_kl"
    }
    assert steps == {1, *range(2, STEPS + 1, 2)}
    found, expected = curves(seldom), curves(always)
    assert len(found["entropy"]) == len(found["rollout_gap"]) == len(steps) < len(found["score"])
    for name in ("score", "sampled_kl", "policy_loss", "value_loss"):
        assert found[name] == pytest.approx(expected[name], abs=1e-4)


def test_a_penalty_of_whole_distributions_needs_them_at_every_step():
    rollout = ROLLOUT.model_copy(update={"distributions_every": 2})
    with pytest.raises(ValidationError, match="kl_full needs whole distributions at every step"):
        ppo_recipe(rollout=rollout, regularizer=Regularizer(penalty="kl_full", coefficient=0.1))


@pytest.mark.parametrize(
    ("dropout", "starts_at_one"), [("matched", True), ("off", True), ("mismatched", False)]
)
def test_the_ratio_starts_at_one_unless_dropout_is_mismatched(lab, parents, dropout, starts_at_one):
    found = curves(lab.run(PPO, ppo_recipe(training=training(dropout=dropout, steps=2)), parents))
    # A fresh adapter adds nothing, whatever its dropout: the second step tells.
    assert (found["first_ratio_gap"][1] < 1e-4) is starts_at_one


def test_the_warm_hundredth_equals_the_cold_first(lab, parents):
    warm = lab.run(PPO, ppo_recipe(), parents)
    assert lab.run(PPO, ppo_recipe(), parents, memory={}).bytes() == warm.bytes()


def test_parts_of_a_batch_give_the_same_training(lab, parents):
    """Equal to rounding: sampled tokens would differ where a draw falls within it."""
    recipe = without_dropout(training=training(steps=2))
    whole, parted = (
        curves(lab.run(PPO, recipe, parents, execution=Execution(device="cpu", micro_batch=size)))
        for size in (None, 3)
    )
    for name in ("score", "true_kl", "loss", "gradient_norm", "value_loss", "explained_variance"):
        assert parted[name] == pytest.approx(whole[name], rel=1e-4, abs=1e-6), name


def test_gradient_checkpointing_changes_no_figure(lab, parents):
    """Dropout's masks are the same in the pass that is made again."""
    plain, again = (
        curves(
            lab.run(PPO, ppo_recipe(), parents, execution=Execution(device="cpu", gradient_checkpointing=on))
        )
        for on in (False, True)
    )
    for name in ("score", "true_kl", "loss", "gradient_norm"):
        assert again[name] == pytest.approx(plain[name], rel=1e-4, abs=1e-6), name


def test_the_precision_of_the_paper_scale(lab, parents):
    """Backbones in bfloat16, adapters in float32, autocast."""
    recipe = ppo_recipe(model=ModelRecipe(dtype="bfloat16"), training=training(autocast="bfloat16"))
    ran = lab.run(PPO, recipe, parents)
    found = curves(ran)
    assert found["true_kl"][0] == 0.0 < found["true_kl"][-1]
    assert max(found["rollout_gap"]) < 0.05
    tensors = load_adapter_tensors(ran.output / "adapter")
    assert {value.dtype for value in tensors.values()} == {torch.float32}


def test_backbones_in_four_bits(lab, parents):
    recipe = ppo_recipe(adapter=ADAPTER.model_copy(update={"quantization": NF4}))
    found = curves(lab.run(PPO, recipe, parents))
    assert found["true_kl"][0] == 0.0, "the reference is as coarse as the policy"
    assert found["true_kl"][-1] > 0.0
    assert max(found["rollout_gap"]) < 0.05


# ---- snapshots ------------------------------------------------------------------------------------------------------


def adapter_at(lab: Lab, parents: Any, recipe: PpoRecipe, step: int) -> dict[str, torch.Tensor]:
    ran = lab.run(PPO, recipe, parents, execution=Execution(device="cpu", snapshots=(step,)))
    return load_adapter_tensors(snapshot_directory(ran.output, step) / "adapter")


def test_the_published_label_runs_one_update_ahead(lab, parents):
    late = adapter_at(lab, parents, ppo_recipe(training=training(checkpoint_label="before_step")), 2)
    true = adapter_at(lab, parents, ppo_recipe(), 1)
    assert all(torch.equal(late[name], true[name]) for name in true)


def test_the_published_last_weights_lack_the_last_update(lab, parents):
    recipe = ppo_recipe(training=training(checkpoint_label="before_step"))
    last = load_adapter_tensors(lab.run(PPO, recipe, parents).output / "adapter")
    true = adapter_at(lab, parents, ppo_recipe(), STEPS - 1)
    assert all(torch.equal(last[name], true[name]) for name in true)


@pytest.mark.parametrize("label", ["after_step", "before_step"])
def test_a_missing_snapshot_is_replayed_with_the_same_bits(lab, parents, label):
    recipe = ppo_recipe(training=training(checkpoint_label=label), seed=5)
    stored = adapter_at(lab, parents, recipe, 2)
    ran = lab.run(PPO, recipe, parents)
    stage = lab.stage(EVALUATE, EvaluateRecipe(step=2), (ran.parent("trained"),))
    context = lab.context(stage, (ran.parent("trained"),), memory={})
    again = load_adapter_tensors(replay_to_step(context, ran.parent("trained"), 2) / "adapter")
    assert all(torch.equal(stored[name], again[name]) for name in stored)


def test_a_snapshot_can_be_evaluated(lab, parents):
    ran = lab.run(PPO, ppo_recipe(), parents, execution=Execution(device="cpu", snapshots=(2,)))
    stage = lab.stage(EVALUATE, EvaluateRecipe(step=2), (ran.parent("trained"),))
    context = lab.context(stage, (ran.parent("trained"),))
    with trained_model(context, ModelRecipe(), step=2) as (model, _):
        assert hasattr(model, "peft_config")


# ---- learning -------------------------------------------------------------------------------------------------------


def score_by(rule: Callable[[tuple[int, ...]], float]) -> Callable[..., torch.Tensor]:
    return lambda reward, tokenizer, batch, episodes, how: torch.tensor(
        [rule(one.response) for one in episodes]
    )


def test_it_finds_a_known_optimum(lab, monkeypatch):
    """A bandit: half of all words are worth 1, the others nothing; the base rarely says one of the first."""
    shape = ModelShape(
        hidden_size=32, layers=2, heads=2, key_value_heads=1, intermediate_size=64, initializer_range=0.1
    )
    base = base_of(lab, training=short(60, 6e-3), model=ModelRecipe(shape=shape))
    monkeypatch.setattr("workers.ppo.measures._scores", score_by(lambda ids: float(ids[0] % 2 == 0)))
    recipe = ppo_recipe(
        adapter=ADAPTER.model_copy(
            update={"rank": 8, "alpha": 32, "dropout": 0.0, "target_modules": LLAMA_PROJECTIONS}
        ),
        rollout=ROLLOUT.model_copy(update={"batch_size": 64, "new_tokens": 1}),
        regularizer=Regularizer(penalty="none"),
        training=training(steps=25, batch_size=64, epochs=4, learning_rate=3e-3, horizon=100),
    )
    found = curves(lab.run(PPO, recipe, (base, reward_of(lab, base))))["score"]
    assert sum(found[:3]) / 3 < 0.5
    assert sum(found[-3:]) / 3 > 0.85


@pytest.mark.parametrize(
    "regularizer",
    [
        Regularizer(penalty="js_full", coefficient=1.0, placement="loss"),
        Regularizer(penalty="squared_error", coefficient=1.0, placement="loss"),
        Regularizer(penalty="kl_full", coefficient=1.0),
        Regularizer(penalty="kl", coefficient=0.5, adaptive={}),
    ],
)
def test_further_regularizers_run(lab, parents, regularizer):
    found = curves(lab.run(PPO, ppo_recipe(regularizer=regularizer), parents))
    assert (max(map(abs, found["penalty_loss"])) > 0.0) is (regularizer.placement == "loss")
    assert (found["coefficient"][0] == found["coefficient"][-1]) is (regularizer.adaptive is None)


def test_a_reference_of_its_own_precision_is_not_the_policy_at_the_start(lab, parents):
    found = curves(lab.run(PPO, ppo_recipe(reference_dtype="bfloat16"), parents))
    assert found["true_kl"][0] > 0.0


def test_padding_counts_only_where_it_is_asked_to(lab, parents):
    rollout = ROLLOUT.model_copy(update={"new_tokens": 16})
    one, other = (
        curves(
            lab.run(PPO, without_dropout(rollout=rollout, estimation=Estimation(padding=padding)), parents)
        )
        for padding in ("masked", "counted")
    )
    assert one["response_length"][0] == other["response_length"][0] < 16
    assert one["score"][0] == other["score"][0]
    assert one["return"][0] != other["return"][0]


def test_bf16_adapters_hold_bf16_values(lab, parents):
    ran = lab.run(PPO, ppo_recipe(training=training(adapter_dtype="bfloat16")), parents)
    tensors = load_adapter_tensors(ran.output / "adapter")
    assert {value.dtype for value in tensors.values()} == {torch.bfloat16}


# ---- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_rollout_of_another_adapter_is_noticed(lab, parents, monkeypatch):
    sample = Sampler.sample

    def stale(self: Sampler, prompts: Any, uniforms: Any) -> Any:
        with self.model.disable_adapter():
            return sample(self, prompts, uniforms)

    monkeypatch.setattr(Sampler, "sample", stale)
    recipe = ppo_recipe(training=training(learning_rate=5e-2))
    with pytest.raises(RuntimeError, match="does not come from the current adapter"):
        lab.run(PPO, recipe, parents, memory={})


def test_a_score_that_is_no_number_is_a_stored_divergence(lab, parents, tmp_path):
    base, reward = parents
    shutil.copytree(reward.output, tmp_path / "output")
    weights = tmp_path / "output" / "model" / "model.safetensors"
    tensors = load_file(weights)
    tensors["score.weight"].fill_(float("nan"))
    save_file(tensors, weights, metadata={"format": "pt"})
    broken = Parent("reward", reward.stage, tmp_path / "output", [])
    ran = lab.run(PPO, ppo_recipe(seed=6), (base, broken), memory={})
    assert ran.result.outcome == "diverged"
    assert "step 1: score is nan" in ran.result.message


def test_a_reward_model_with_another_tokenizer_is_refused(lab, parents, tmp_path):
    base, reward = parents
    shutil.copytree(reward.output, tmp_path / "output")
    file = tmp_path / "output" / "model" / "tokenizer.json"
    file.write_text(file.read_text().replace('"mira"', '"mirax"'))
    other = Parent("reward", reward.stage, tmp_path / "output", [])
    with pytest.raises(BadInput, match="another tokenizer"):
        lab.run(PPO, ppo_recipe(seed=7), (base, other), memory={})


def test_a_missing_reward_model_is_said(lab, parents):
    with pytest.raises(BadInput, match="role `reward`"):
        lab.run(PPO, ppo_recipe(), parents[:1])


def test_one_kind_of_prompts_is_wanted(lab, parents):
    with pytest.raises(BadInput, match="exactly one"):
        lab.run(PPO, ppo_recipe(preferences=None), parents)


def test_no_prompt_left_is_said_with_the_reasons(lab, parents):
    rollout = ROLLOUT.model_copy(update={"prompt_tokens": 2})
    with pytest.raises(BadInput, match="prompt_tokens is 2"):
        lab.run(PPO, ppo_recipe(rollout=rollout), parents)


def test_a_response_that_never_ends_is_cut_and_may_cost(lab, parents):
    free = curves(lab.run(PPO, ppo_recipe(), parents))
    rollout = ROLLOUT.model_copy(update={"missing_end": -1.0})
    found = curves(lab.run(PPO, ppo_recipe(rollout=rollout), parents))
    assert found["ended"][0] == free["ended"][0] < 1.0
    assert found["score"][0] == free["score"][0], "the reward model's own score is what is logged"
    assert found["shaped_sum"][0] != free["shaped_sum"][0]


@pytest.mark.parametrize("others", [{"batch_size": 3}, {"accumulation": "repeat", "repeats": 3}])
def test_batches_must_divide(others):
    with pytest.raises(ValidationError, match="multiple of"):
        ppo_recipe(training=training(**others))


def test_the_default_adapter_is_the_published_one():
    adapter = PpoRecipe().adapter
    assert (adapter.rank, adapter.alpha, adapter.dropout) == (8, 64, 0.1)
    assert adapter.target_modules == (*ADAPTER.target_modules[:1], "k_proj", "v_proj", "o_proj")
