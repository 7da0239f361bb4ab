"""The LoRA PPO study's grid: its arms, its published settings, what they share, and a slice that runs."""

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import results
from orchestrator.grid import load_grid
from orchestrator.judging import judging_cost
from orchestrator.plan import Plan, PlannedStage, plan_grid
from tests.orchestrator.test_alignment import GRID as ALIGNMENT
from tests.orchestrator.test_alignment import at, levels
from tests.support.commands import yates

GRID = Path(__file__).parents[2] / "grids" / "rlhf.yaml"
PENALISED = {"kl", "clamped_kl", "bregman", "squared_error", "jensen_shannon", "negative_kl"}


@cache
def plan(**choices: Any) -> Plan:
    return plan_grid(load_grid(GRID, **choices))


def runs(plan: Plan) -> dict[str, PlannedStage]:
    """The PPO stage of each experiment by the experiment's name."""
    return {
        one.name.removeprefix("ppo/"): plan.stages[one.stages["ppo"]]
        for one in plan.experiments
        if "ppo" in one.stages
    }


def test_the_default_is_14_arms_with_three_seeds_on_the_embedded_world():
    found = plan()
    assert (found.scale, found.preset, len(found.experiments)) == ("tiny", "corrected", 42)
    arms = Counter((one["regularizer"], one["coefficient"]) for one in levels(found))
    assert set(arms.values()) == {3}
    assert {name for name, coefficient in arms if coefficient is not None} == PENALISED
    assert {name for name, coefficient in arms if coefficient is None} == {"none", "dropout_only"}
    assert len(arms) == 14
    assert not found.unresolved


def test_everything_before_ppo_is_shared_and_every_checkpoint_is_judged():
    counts = Counter(stage.name for stage in plan().stages)
    once = ("pretrain", "sft", "reward", "opponent", "facts_start")
    assert {name: counts[name] for name in once} == dict.fromkeys(once, 1)
    stepwise = ("answers", "win", "helpful", "facts")
    assert {name: counts[name] for name in stepwise} == dict.fromkeys(stepwise, 42 * 5)
    assert (counts["ppo"], counts["start"]) == (42, 0), "the opponent's answers are the start's"
    assert {stage.execution.snapshots for stage in plan().stages if stage.name == "ppo"} == {
        (10, 20, 30, 40, 50)
    }


def test_the_base_is_that_of_the_alignment_study():
    other = plan_grid(load_grid(ALIGNMENT))
    shared = {stage.id for stage in plan().stages} & {stage.id for stage in other.stages}
    assert [stage.name for stage in plan().stages if stage.id in shared] == ["pretrain", "sft"]


def test_arms_differ_in_what_they_are_named_for():
    found = runs(plan())
    assert {at(one.recipe, "regularizer.penalty") for one in found.values()} == {
        "kl", "clamped_kl", "bregman", "squared_error", "jensen_shannon", "none"
    }  # fmt: skip
    assert at(found["negative_kl/strong/human/s0"].recipe, "regularizer.coefficient") == -0.5
    assert at(found["kl/weak/human/s0"].recipe, "regularizer.coefficient") == 0.02
    free = (found["none/human/s0"].recipe, found["dropout_only/human/s0"].recipe)
    assert [at(one, "adapter.dropout") for one in free] == [0.0, 0.1]
    assert len({one.id for one in found.values()}) == 42


PUBLISHED = {
    "adapter.rank": 8,
    "adapter.alpha": 64,
    "adapter.dropout": 0.1,
    "adapter.target_modules": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "rollout.batch_size": 256,
    "rollout.prompt_tokens": 192,
    "rollout.new_tokens": 300,
    "rollout.temperature": 1.0,
    "training.batch_size": 128,
    "training.epochs": 2,
    "training.learning_rate": 1e-5,
    "training.warmup_steps": 5,
    "training.beta1": 0.9,
    "training.beta2": 0.999,
    "training.epsilon": 1e-5,
    "training.weight_decay": 0.0,
    "training.max_gradient_norm": 1.0,
    "training.policy_clip": 0.2,
    "training.value_clip": 0.2,
    "training.value_coefficient": 0.1,
    "training.steps": 180,
    "estimation.gamma": 1.0,
    "estimation.lam": 0.95,
    "estimation.whiten_rewards": True,
    "regularizer.coefficient": 0.02,
    "model.dtype": "bfloat16",
}
FLAWS = {
    "training.accumulation": ("true", "repeat"),
    "training.adapter_dtype": ("float32", "bfloat16"),
    "training.dropout": ("matched", "mismatched"),
    "training.checkpoint_label": ("after_step", "before_step"),
    "training.horizon": (None, 781),
    "estimation.padding": ("masked", "counted"),
    "reference_dtype": (None, "float32"),
    "rollout.score_text": (False, True),
}


def test_the_paper_scale_has_the_published_settings():
    stage = runs(plan(scale="paper"))["kl/weak/human/s1"]
    assert {key: at(stage.recipe, key) for key in PUBLISHED} == PUBLISHED
    assert stage.shape == "gpu1x80g-cpu8-mem96g"
    assert stage.execution.snapshots == (20, 60, 100, 140, 180)


@pytest.mark.parametrize("scale", ["tiny", "paper"])
def test_presets_differ_in_the_flaws_alone(scale):
    corrected = runs(plan(scale=scale))["kl/weak/human/s0"].recipe
    published = plan(scale=scale, preset="as-published", cells="published")
    assert len(published.experiments) == 8
    flawed = runs(published)["kl/weak/human/s42"].recipe
    assert {key: (at(corrected, key), at(flawed, key)) for key in FLAWS} == FLAWS
    mended = flawed.model_dump()
    for key, (right, _) in FLAWS.items():
        inner, _, name = key.rpartition(".")
        (mended[inner] if inner else mended)[name] = right
    assert mended == corrected.model_dump()


def test_further_arms_and_other_reward_data():
    further = runs(plan(cells="further"))
    assert len(further) == 6 * 2 * 3
    assert at(further["kl_full_in_loss/weak/human/s0"].recipe, "regularizer.placement") == "loss"
    noisy = plan(cells="reward-data")
    (reward,) = [stage for stage in noisy.stages if stage.name == "reward"]
    assert at(reward.recipe, "preferences.dataset") == "hh-rlhf"


def test_small_is_one_real_model_and_needs_no_supervised_training():
    found = plan(scale="small")
    assert {"HuggingFaceTB/SmolLM2-135M-Instruct", "tatsu-lab/alpaca"} <= set(found.unresolved)
    assert {stage.name for stage in found.stages} == {"reward", "ppo"}


SHORTER = (
    "recipes.pretrain.steps=30",
    "recipes.sft.training.steps=10",
    "recipes.reward.training.steps=10",
    "recipes.ppo.steps=4",
    "recipes.rollout.batch_size=16",
    "recipes.ppo.batch_size=8",
    "recipes.rollout.new_tokens=8",
    "checkpoints=[2, 4]",
)


@pytest.mark.timeout(300)
def test_a_slice_trains_and_is_judged(tmp_path):
    options = [word for override in SHORTER for word in ("--set", override)]
    where = 'regularizer in ("kl", "none") and seed == 0'
    done = yates("run", GRID, "-w", tmp_path / "runs", "--where", where, *options, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    frame = results.load(tmp_path / "runs")
    assert sorted(frame["name"]) == ["ppo/kl/strong/human/s0", "ppo/kl/weak/human/s0", "ppo/none/human/s0"]
    for column in ("score", "true_kl", "entropy", "response_length", "win_rate"):
        assert frame[column].notna().all(), column
    curves = results.curves(tmp_path / "runs")
    assert (curves[curves["name"] == "true_kl"].groupby("stage").size() == 4).all()
    measured = results.metrics(tmp_path / "runs").query("task == 'win_rate' and metric == 'win_rate'")
    assert set(measured["step"]) == {2, 4}
    facts = results.metrics(tmp_path / "runs").query("metric == 'responded'")
    assert set(facts["task"]) == {"factscore", "factscore_start"} and facts["value"].notna().all()
    assert set(facts.query("task == 'factscore'")["step"]) == {2, 4}


BASELINES = (
    "recipes.online.training.steps=4",
    "recipes.online.training.batch_size=16",
    "recipes.best_of.n=3",
)


@pytest.mark.timeout(300)
def test_the_baselines_train_and_are_judged_alike(tmp_path):
    options = [word for override in (*SHORTER, *BASELINES) for word in ("--set", override)]
    where = ("--cells", "baselines", "--where", 'method == "sft" or seed == 0')
    done = yates("run", GRID, "-w", tmp_path / "runs", *where, *options, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    frame = results.load(tmp_path / "runs").set_index("method")
    assert set(frame.index) == {"rloo", "grpo", "best-of-n", "sft"}
    trained = frame.loc[["rloo", "grpo"]]
    assert trained[["score", "true_kl", "entropy", "win_rate"]].notna().all(axis=None)
    assert frame.loc["best-of-n", ["win_rate", "benign_win_rate"]].notna().all()
    steps = results.metrics(tmp_path / "runs").query("metric == 'win_rate_legacy'").groupby("task")["step"]
    assert set(steps.get_group("win_rate").dropna()) == {2, 4}


def test_baselines_see_the_prompts_reward_model_and_weight_of_ppo():
    found = plan(cells="baselines")
    assert Counter(one["method"] for one in levels(found)) == {"rloo": 3, "grpo": 3, "best-of-n": 3, "sft": 1}
    ppo = plan()
    shared = {stage.id for stage in found.stages} & {stage.id for stage in ppo.stages}
    names = {stage.name for stage in found.stages if stage.id in shared}
    assert {"pretrain", "sft", "reward", "start", "facts_start"} <= names
    mine, theirs = (
        next(stage.recipe for stage in each.stages if stage.name == name)
        for each, name in ((found, "rloo"), (ppo, "ppo"))
    )
    for field in ("preferences", "instructions", "template", "model"):
        assert at(mine, field) == at(theirs, field)
    assert at(mine, "beta") == at(theirs, "regularizer.coefficient") == 0.02
    assert at(mine, "training.batch_size") == at(theirs, "rollout.batch_size")
    assert at(mine, "max_completion_length") == at(theirs, "rollout.new_tokens")


def test_the_paper_scale_judges_everybody_against_the_stored_answers_and_counts_the_calls():
    found = plan(scale="paper", cells="baselines")
    judged = [stage for stage in found.stages if stage.kind.name == "judge"]
    assert {role for stage in judged for role, _ in stage.parents} == {"generations"}
    assert {stage.name for stage in judged} == {"win", "win_once"}
    facts = [stage for stage in found.stages if stage.kind.name == "factuality"]
    assert {at(stage.recipe, "task") for stage in facts} == {"biographies"}
    cost = judging_cost(found)
    assert cost is not None and cost.money is not None
    assert cost.models["gpt-4-0613"] == 34 * 805 * 2
