"""The quantization study's grid: its arms, its recipes, what a plan refuses, and one arm trained to its end."""

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import results
from orchestrator.errors import GridError
from orchestrator.grid import load_grid
from orchestrator.plan import Plan, PlannedStage, plan_grid
from tests.support.commands import experiments, yates
from workers.evaluation.benchmark import FEW_SHOT

GRID = Path(__file__).parents[2] / "grids" / "quantization.yaml"
FURTHER = {"baseline_untied", "v8_row", "v8_tensor", "v8_nonzero", "w8a8g8_full", "combined", "adam_8bit"}
ROW8 = {"bits": 8, "axis": "row"}


@cache
def plan(**choices: Any) -> Plan:
    return plan_grid(load_grid(GRID, **choices))


def levels(plan: Plan) -> list[dict[str, Any]]:
    return [dict(zip(plan.factors, one.levels, strict=True)) for one in plan.experiments]


def stages(plan: Plan, name: str) -> dict[str, PlannedStage]:
    """The stages of an experiment by role."""
    (one,) = [one for one in plan.experiments if one.name == name]
    return {role: plan.stages[index] for role, index in one.stages.items()}


def own(plan: Plan, name: str) -> PlannedStage:
    """The training of an experiment."""
    (found,) = [stage for stage in stages(plan, name).values() if stage.kind.name == "pretrain"]
    return found


def quantization(plan: Plan, name: str) -> dict[str, Any]:
    found = own(plan, name).recipe.quantization  # type: ignore[attr-defined]
    return {} if found is None else found.model_dump(exclude_defaults=True)


@pytest.mark.parametrize("scale", ["tiny", "small", "paper"])
@pytest.mark.parametrize(
    ("cells", "preset", "count", "arms"),
    [
        ("full", "corrected", 81, 27),
        ("published", "as-published", 20, 20),
        ("full", "as-published", 27, 27),
        ("llama", "corrected", 9, 3),
    ],
)
def test_cells_of_the_study(scale: str, cells: str, preset: str, count: int, arms: int) -> None:
    found = levels(plan(scale=scale, cells=cells, preset=preset))
    assert len(found) == count
    assert set(Counter(one["arm"] for one in found).values()) == {count // arms}
    assert len({one["arm"] for one in found}) == arms


def test_the_default_is_27_arms_of_three_seeds_on_the_embedded_world() -> None:
    found = plan()
    assert (found.scale, found.preset, found.cells) == ("tiny", "corrected", "full")
    assert {one["arm"] for one in levels(found)} - {
        one["arm"] for one in levels(plan(cells="published"))
    } == FURTHER
    assert not found.unresolved
    assert set(found.shapes) == {"cpu1-mem2g"}
    assert Counter(stage.name for stage in found.stages)["tokenize"] == 1
    assert len({one.name for one in found.experiments}) == 81
    assert {"gpt2/w4_row/s42", "gpt2/baseline/s2024"} <= {one.name for one in found.experiments}


@pytest.mark.parametrize(("cells", "count"), [("backward", 54), ("gradients", 216), ("states", 54 + 108)])
def test_ablations_are_asked_for(cells: str, count: int) -> None:
    assert len(plan(cells=cells).experiments) == count


def test_the_published_recipe_is_that_of_section_3() -> None:
    stage = own(plan(scale="paper"), "gpt2/baseline/s42")
    training, shape = stage.recipe.training, stage.recipe.model.shape  # type: ignore[attr-defined]
    assert (training.steps, training.batch_size, training.learning_rate) == (300_000, 512, 6e-4)
    assert (training.schedule, training.warmup_steps, training.weight_decay) == ("cosine", 1000, 0.1)
    assert (training.beta1, training.beta2, training.epsilon) == (0.9, 0.999, 1e-8)
    assert (training.max_gradient_norm, training.autocast) == (1.0, "bfloat16")
    assert (shape.hidden_size, shape.layers, shape.heads, shape.intermediate_size) == (768, 12, 12, 3072)
    assert (shape.context, shape.dropout, shape.vocabulary_multiple) == (1024, 0.1, 8)
    assert training.batch_size * stage.recipe.data.block == 524_288  # type: ignore[attr-defined]


ARMS = {
    "baseline": {},
    "w8_tensor": {"weights": {"axis": "tensor"}},
    "a4_row_asym": {"activations": {"bits": 4, "symmetric": False}},
    "a4_col": {"activations": {"bits": 4, "axis": "column"}},
    "g4_row": {"gradients": {"bits": 4}},
    "m4_tensor": {"first_moment": {"bits": 4, "axis": "tensor"}},
    "w8a8g8": {"weights": {}, "activations": {}, "gradients": {}},
    "v8_nonzero": {"second_moment": {"code": "nonzero", "floor": 1e-12}},
    "w8a8g8_full": {
        "weights": {},
        "activations": {},
        "gradients": {},
        "gradient_products": "both",
        "backward_operands": "quantized",
    },
    "baseline_untied": {"tying": "broken"},
}


@pytest.mark.parametrize("arm", ARMS)
def test_what_an_arm_rounds(arm: str) -> None:
    found = quantization(plan(), f"gpt2/{arm}/s42")
    assert {key: value for key, value in found.items() if key != "head"} == ARMS[arm]


def test_as_published_breaks_the_tie_and_quantizes_the_head_where_the_study_did() -> None:
    found = plan(preset="as-published")
    policies = {
        one["arm"]: {
            key: value
            for key, value in quantization(found, f"gpt2/{one['arm']}/s42").items()
            if key in ("head", "tying")
        }
        for one in levels(found)
    }
    broken = {"head": True, "tying": "broken"}
    assert all(policies[arm] == broken for arm in policies if arm[0] in "wag" and arm != "adam_8bit")
    assert all(policies[arm] == {} for arm in policies if arm[0] in "mv" or arm in ("baseline", "adam_8bit"))


@pytest.mark.parametrize(
    ("preset", "marks", "block"), [("corrected", ("end",), None), ("as-published", (), 64)]
)
def test_as_published_puts_no_mark_between_documents(
    preset: str, marks: tuple[str, ...], block: int | None
) -> None:
    (stage,) = [stage for stage in plan(preset=preset).stages if stage.name == "tokenize"]
    assert (stage.recipe.marks, stage.recipe.block) == (marks, block)  # type: ignore[attr-defined]


def test_the_comparison_arm_is_bitsandbytes() -> None:
    arm, baseline = (own(plan(), f"gpt2/{name}/s42").recipe.training for name in ("adam_8bit", "baseline"))  # type: ignore[attr-defined]
    assert arm.optimizer == "adamw_bnb_8bit"
    assert arm.model_copy(update={"optimizer": "adamw_torch"}) == baseline


def test_ste_q_and_full_q_are_those_of_section_4_4() -> None:
    found = plan(cells="backward")
    assert quantization(found, "gpt2/w8a8g8/ste_fp/s42").get("gradient_products", "weight") == "weight"
    ste_q = quantization(found, "gpt2/w8a8g8/ste_q/s42")
    assert (ste_q["backward_operands"], ste_q["gradient_products"], ste_q["clamp_mask"]) == (
        "quantized",
        "none",
        True,
    )
    full_q = quantization(found, "gpt2/w8a8g8/full_q/s42")
    assert (full_q["backward_operands"], full_q["gradient_products"]) == ("quantized", "both")


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("levels.arm.w8a8g8_full.quantization.arithmetic=integer", "gradients per token change their scale"),
        ("levels.arm.w8a8.quantization.weights.axis=rows", "must be 'tensor', 'row', 'column'"),
        ("levels.arm.m8_row.quantization.first_moment.code=unsigned", "a first moment has both signs"),
        ("shapes.gpt2.tie_embeddings=false", "needs a model that ties its head"),
    ],
)
def test_a_plan_refuses_what_makes_no_sense(override: str, reason: str) -> None:
    with pytest.raises(GridError, match=reason):
        plan(overrides=(override,))


def test_every_trained_model_is_analysed_and_one_seed_is_timed() -> None:
    found = plan()
    asked = Counter(stage.name for stage in found.stages)
    assert (asked["analyses"], asked["early"], asked["speed"], asked["evaluate"]) == (81, 81, 27, 0)
    early = stages(found, "gpt2/w4_row/s42")["early"].recipe
    assert (early.step, early.analyses) == (50, ("outliers",))  # type: ignore[attr-defined]
    training = own(found, "gpt2/w4_row/s42")
    assert training.execution.snapshots == (50,)
    assert "measured_time" not in stages(found, "gpt2/w4_row/s42")["analyses"].recipe.analyses  # type: ignore[attr-defined]
    ablation = plan(cells="backward")
    assert sum(stage.name == "analyses" for stage in ablation.stages) == 54


def test_a_training_that_ends_before_the_early_step_has_none() -> None:
    found = plan(overrides=("recipes.pretrain.steps=30",))
    assert not any(stage.name == "early" for stage in found.stages)


def test_larger_scales_are_evaluated_with_their_quantizers() -> None:
    for scale, batch, items in (("paper", 16, None), ("small", 16, 500)):
        recipe: Any = stages(plan(scale=scale), "gpt2/w4_row/s42")["evaluate"].recipe
        assert (recipe.quantizers, recipe.batch_size) == ("as-trained", batch)
        found = {one.name or one.task: one for one in recipe.benchmarks}
        assert {one for one in found if one.startswith("perplexity_")} == {
            f"perplexity_{name}" for name in ("wikitext2", "wikitext103", "ptb", "1bw", "lambada")
        }
        assert set(FEW_SHOT) <= set(found)
        assert (found["mnli"].shots, found["mnli"].limit) == (5, items)
        assert found["mnli"].draws == (42, 1234, 1337, 2024, 1357)
        assert found["lambada"].shots == 0, "it has no training split"
    published: Any = stages(plan(scale="paper", preset="as-published"), "gpt2/w4_row/s42")["evaluate"].recipe
    assert published.batch_size == 1, "a scale shared by several tokens was that of one window"


def test_the_tiny_grid_fits_a_quarter_of_an_hour_on_two_cores() -> None:
    found = plan()
    assert 5 * 60 < sum(stage.cost for stage in found.stages) / 2 < 15 * 60
    analysed = sum(stage.cost for stage in found.stages if stage.kind.name == "analyze")
    assert analysed < 0.25 * sum(stage.cost for stage in found.stages)


def test_an_arm_trains_to_its_end(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    short = ("--set", "recipes.pretrain.steps=30", "--set", "recipes.pretrain.validation_steps=15")
    selected = 'arm in ("w8a8", "adam_8bit", "v8_nonzero") and seed == 42'
    done = yates("run", GRID, "-w", runs, "--where", selected, *short)
    assert done.returncode == 0, done.stdout + done.stderr
    frame = experiments(runs).set_index("arm")
    assert len(frame) == 3
    assert frame["pretrain.validation_loss"].between(2, 5.5).all()
    assert frame["pretrain.validation_loss_unquantized"].notna().to_dict() == {
        "w8a8": True,
        "v8_nonzero": True,
        "adam_8bit": False,
    }
    curves = results.curves(runs)
    assert set(curves.query("name == 'validation_loss'")["step"]) == {15, 30}
    assert frame["sharpness"].notna().all()
    assert frame["gradient_fidelity"].notna().to_dict() == {
        "w8a8": True,
        "v8_nonzero": False,
        "adam_8bit": False,
    }
    assert (
        frame["measured_memory.state_bytes"]["adam_8bit"] < 0.5 * frame["measured_memory.state_bytes"]["w8a8"]
    )
    assert frame["projected.weight_bytes"]["w8a8"] < 0.5 * frame["measured_memory"]["w8a8"], "simulated"
    assert curves["name"].str.startswith("activation_channels/").any()
