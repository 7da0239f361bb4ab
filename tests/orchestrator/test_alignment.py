"""The alignment study's grid: the cells of the study, its recipes, what they share."""

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from orchestrator.grid import load_grid
from orchestrator.plan import Plan, PlannedStage, plan_grid

GRID = Path(__file__).parents[2] / "grids" / "alignment.yaml"
PAIR = ("mistral-7b", "mistral-7b-instruct")


@cache
def plan(**choices: Any) -> Plan:
    return plan_grid(load_grid(GRID, **choices))


def levels(plan: Plan) -> list[dict[str, Any]]:
    return [dict(zip(plan.factors, one.levels, strict=True)) for one in plan.experiments]


def own(plan: Plan, name: str, stage: str) -> PlannedStage:
    (one,) = [one for one in plan.experiments if one.name == name]
    return plan.stages[one.stages[stage]]


@pytest.mark.parametrize(
    ("cells", "variants"),
    [
        ("full", {"single": 320, "mixture": 20, "merge-slerp": 20, "merge-dare-ties": 30, "original": 4}),
        (
            "published",
            {"single": 240, "mixture": 20, "merge-slerp": 20, "merge-dare-ties": 30, "original": 4},
        ),
    ],
)
@pytest.mark.parametrize("scale", ["tiny", "paper"])
@pytest.mark.parametrize("preset", ["corrected", "as-published"])
def test_cells_of_the_study(cells: str, variants: dict[str, int], scale: str, preset: str) -> None:
    found = plan(scale=scale, preset=preset, cells=cells)
    assert Counter(one["variant"] for one in levels(found)) == variants
    assert len(found.experiments) == sum(variants.values())


def test_the_default_is_394_experiments_on_the_embedded_world() -> None:
    found = plan()
    assert (found.scale, found.preset, found.cells) == ("tiny", "corrected", "full")
    assert len(found.experiments) == 394
    assert not found.unresolved
    assert set(found.shapes) == {"cpu1-mem2g"}


def test_published_lacks_lora_on_hh() -> None:
    singles = [one for one in levels(plan(cells="published")) if one["variant"] == "single"]
    assert not [one for one in singles if one["dataset"] == "hh-rlhf" and one["adapter"] == "lora"]
    assert Counter(one["adapter"] for one in singles) == {"qlora": 160, "lora": 80}


def test_merges_and_mixtures_are_of_the_mistral_pair() -> None:
    for one in levels(plan()):
        if one["variant"] not in ("single", "original"):
            assert one["model"] in PAIR
            assert (one["dataset"], one["preference"], one["adapter"]) == (
                "beavertails",
                "harmless+helpful",
                "qlora",
            )


def test_originals_have_no_seed_and_share_their_bases() -> None:
    originals = [one for one in levels(plan()) if one["variant"] == "original"]
    absent = {"dataset": None, "preference": None, "adapter": None, "seed": None, "method": "none"}
    assert all({name: one[name] for name in absent} == absent for one in originals)
    names = {one.name for one in plan().experiments}
    assert {f"{one['model']}/none/original" for one in originals} <= names


def test_stages_are_shared() -> None:
    counts = Counter(stage.name for stage in plan().stages)
    assert counts["pretrain"] == 2, "one for each architecture"
    assert counts["instruct"] == 2
    assert counts["sft"] + counts["dpo"] == 340
    assert counts["merge"] == 50
    assert counts["reference"] == 34, "seeds share the reference: 32 single cells with DPO, and 2 mixtures"
    assert counts["curve"] == 60 * 7


def test_as_published_draws_anew_for_each_seed() -> None:
    assert Counter(stage.name for stage in plan(preset="as-published").stages)["reference"] == 170


@pytest.mark.parametrize(("arm", "parents"), [("sft", 2), ("dpo", 2), ("sft+dpo", 4)])
def test_merges_stand_on_the_singles_of_their_seed(arm: str, parents: int) -> None:
    found = plan()
    merge = own(found, f"mistral-7b/beavertails/harmless+helpful/{arm}/qlora/merge-dare-ties/s3", "merge")
    merged = [index for role, index in merge.parents if role == "merged"]
    expected = [
        own(found, f"mistral-7b/beavertails/{preference}/{method}/qlora/single/s3", method).id
        for method in arm.split("+")
        for preference in ("harmless", "helpful")
    ]
    assert [found.stages[index].id for index in merged] == expected
    assert len(merged) == parents
    assert merge.recipe.method == "dare-ties"  # type: ignore[attr-defined]


SFT_COLUMN = {
    "training.learning_rate": 2e-4,
    "adapter.rank": 64,
    "adapter.alpha": 16,
    "adapter.dropout": 0.1,
    "adapter.target_modules": ("q_proj", "v_proj"),
    "training.batch_size": 16,
    "training.steps": 700,
    "training.optimizer": "paged_adamw_32bit",
    "training.beta1": 0.9,
    "training.beta2": 0.999,
    "training.schedule": "constant",
    "training.max_gradient_norm": 0.3,
    "training.weight_decay": 0.001,
    "preferences.samples": 11200,
    "max_length": 2048,
}
DPO_COLUMN = {
    **{key: SFT_COLUMN[key] for key in ("training.batch_size", "training.steps", "training.optimizer")},
    "training.learning_rate": 5e-5,
    "adapter.rank": 16,
    "adapter.alpha": 32,
    "adapter.dropout": 0.05,
    "adapter.target_modules": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    "training.schedule": "cosine",
    "training.warmup_steps": 100,
    "training.max_gradient_norm": 1.0,
    "training.weight_decay": 0.0,
    "beta": 0.1,
    "preferences.max_prompt_length": 1024,
    "preferences.max_length": 1536,
}


def at(settings: Any, dotted: str) -> Any:
    for name in dotted.split("."):
        settings = getattr(settings, name)
    return settings


@pytest.mark.parametrize(("method", "column"), [("sft", SFT_COLUMN), ("dpo", DPO_COLUMN)])
def test_recipes_are_the_columns_of_the_paper(method: str, column: dict[str, Any]) -> None:
    stage = own(plan(scale="paper"), f"vicuna-7b-v1.3/beavertails/harmless/{method}/qlora/single/s0", method)
    assert {key: at(stage.recipe, key) for key in column} == column
    assert stage.shape == "gpu1x40g-cpu8-mem64g"
    assert at(stage.recipe, "model.hub") == "lmsys/vicuna-7b-v1.3"
    assert at(stage.recipe, "adapter.quantization.format") == "nf4"


def test_a_value_of_a_column_can_be_set_alone() -> None:
    changed = plan(overrides=("recipes.dpo.training.learning_rate=1e-4",))
    before = plan()
    assert {
        at(stage.recipe, "training.learning_rate") for stage in changed.stages if stage.name == "dpo"
    } == {1e-4}
    same = {stage.id for stage in before.stages} & {stage.id for stage in changed.stages}
    kept = Counter(stage.name for stage in changed.stages if stage.id in same)
    assert kept["sft"] == 170
    assert kept["reference"] == 34
    assert "dpo" not in kept


def test_templates_are_byte_for_byte_those_of_the_paper() -> None:
    stages = [stage for stage in plan(scale="paper").stages if stage.name == "sft"]
    templates = {at(stage.recipe, "template.turn"): at(stage.recipe, "template.system") for stage in stages}
    assert templates == {
        "USER: {prompt} ASSISTANT: {response}</s>": "A chat between a curious user and an "
        "artificial intelligence "
        "assistant. The assistant gives helpful, detailed, and polite answers to the user's questions. ",
        "[INST] {prompt} [/INST] {response} </s>": "",
    }


def test_presets_differ_in_method() -> None:
    name = "mistral-7b/beavertails/harmless+helpful/sft/qlora/mixture/s0"
    corrected, published = (
        own(plan(preset=preset), name, "sft").recipe for preset in ("corrected", "as-published")
    )
    keys = (
        "mask_prompt",
        "preferences.sampling",
        "preferences.mixture_ratio",
        "preferences.mixture_conflicts",
    )
    assert [at(corrected, key) for key in keys] == [True, "fixed", "balanced", "drop"]
    assert [at(published, key) for key in keys] == [False, "per-seed", "natural", "keep"]


def test_matched_recipes_differ_in_method_and_rate_alone() -> None:
    found = plan(preset="matched", scale="paper")
    name = "mistral-7b/beavertails/harmless/{}/qlora/single/s0"
    sft, dpo = (own(found, name.format(method), method).recipe for method in ("sft", "dpo"))
    assert at(sft, "adapter") == at(dpo, "adapter")
    same = {"learning_rate": 2e-4}
    assert at(sft, "training") == at(dpo, "training").model_copy(update=same)


@pytest.mark.parametrize(
    ("name", "stage", "quantized"),
    [
        ("mistral-7b/hh-rlhf/helpful/dpo/qlora/single/s0", "evaluate", True),
        ("llama-1-7b/hh-rlhf/helpful/dpo/lora/single/s0", "evaluate", False),
        ("mistral-7b/beavertails/harmless/sft/qlora/single/s0", "curve@9", True),
        ("mistral-7b/beavertails/harmless/sft/qlora/single/s0", "unquantized", False),
        ("mistral-7b/beavertails/harmless+helpful/sft/qlora/mixture/s0", "evaluate", True),
        ("mistral-7b/beavertails/harmless+helpful/sft/qlora/merge-slerp/s0", "evaluate", False),
        ("mistral-7b/none/original", "evaluate", False),
    ],
)
def test_evaluation_is_at_the_precision_of_the_training(name: str, stage: str, quantized: bool) -> None:
    recipe = own(plan(), name, stage).recipe
    assert (at(recipe, "quantization") is not None) is quantized


def test_the_reference_has_the_precision_of_its_runs() -> None:
    found = plan()
    for stage in found.stages:
        if stage.name == "dpo":
            (reference,) = [found.stages[index] for role, index in stage.parents if role == "reference"]
            assert at(reference.recipe, "quantization") == at(stage.recipe, "adapter.quantization")
            assert at(reference.recipe, "preferences") == at(stage.recipe, "preferences")


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("llama-1-7b/hh-rlhf/harmless/sft/qlora/single/s0", ("hh-rlhf", "harmless")),
        ("llama-1-7b/hh-rlhf/helpful/sft/qlora/single/s0", ("hh-rlhf", "helpful")),
        ("llama-1-7b/beavertails/helpful/dpo/lora/single/s0", ("beavertails", "helpful")),
        ("llama-1-7b/none/original", ("hh-rlhf", "harmless")),
    ],
)
def test_the_own_held_out_pairs_come_first(name: str, first: tuple[str, str]) -> None:
    benchmarks = at(own(plan(), name, "evaluate").recipe, "benchmarks")
    (pairs,) = [benchmark for benchmark in benchmarks if benchmark.task == "preference_accuracy"]
    sets = [(data.dataset, data.preference) for data in pairs.preferences]
    assert sets[0] == first
    assert len(set(sets)) == 4


def test_curves_are_of_the_cells_of_figures_f2_and_f3() -> None:
    found = plan()
    for one, level in zip(found.experiments, levels(found), strict=True):
        curve = [name for name in one.stages if name.startswith("curve@")]
        pair = level["variant"] == "single" and level["model"] in PAIR and level["adapter"] == "qlora"
        wanted = pair and (level["dataset"] == "beavertails" or level["method"] == "sft")
        assert len(curve) == (7 if wanted else 0)
        assert ("evaluate" in one.stages) is not wanted
        if wanted:
            training = found.stages[one.stages[str(level["method"])]]
            assert training.execution.snapshots == (9, 18, 27, 36, 45, 54, 63)


def test_what_a_load_shows_is_the_precision_of_training() -> None:
    """Of figures at one step the later stage's count: the curve's end comes after the merges' precision."""
    found = plan()
    for one in found.experiments:
        if "unquantized" in one.stages:
            roles = list(one.stages)
            assert roles.index("unquantized") < roles.index("curve@63")
            assert at(found.stages[one.stages["unquantized"]].recipe, "step") == 63


def test_small_runs_one_real_model_on_real_rows() -> None:
    found = plan(scale="small")
    assert len(found.experiments) == 160
    assert "HuggingFaceTB/SmolLM2-135M-Instruct" in found.unresolved
    assert {stage.seed for stage in found.stages} == {0, 1}


def test_as_a_tiny_run_it_is_minutes_on_two_cores() -> None:
    assert 600 < sum(stage.cost for stage in plan().stages) < 4000
