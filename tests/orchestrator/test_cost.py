"""The cost of a stage: measured seconds first; published times within a factor of 2 with one figure for a GPU type."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.budget import phases
from orchestrator.cost import FALLBACK, GPUS, architecture_of, expected_seconds
from orchestrator.cost.architecture import LLAMA_7B, STORIES_260K
from orchestrator.grid import load_grid
from orchestrator.plan import plan_grid
from tests.orchestrator.cost import published
from tests.orchestrator.cost.published import A100_40, A100_80
from workers.kinds import find_kind
from workers.recipe import Execution, Recipe, Resources

PAGE = Path(__file__).parents[2] / "docs" / "cost.md"
CPU = Resources()
GPU = Resources(gpus=1, gpu_memory_gb=40)
TINY_SHAPE = find_kind("pretrain").recipe()
WORLD: dict[str, Any] = {"source": {"world": {}}, "max_length": 64}


def seconds(kind: str, recipe: dict[str, Any], resources: Resources = GPU, **others: Any) -> float:
    found = find_kind(kind)
    settings = found.recipe.model_validate(recipe)
    architecture = others.pop("architecture", LLAMA_7B)
    given = others.pop("given", {})
    others["parents"] = [(role, given.get(role, Recipe())) for role in others.pop("roles", ())]
    return expected_seconds(found, settings, architecture=architecture, resources=resources, **others)


@pytest.mark.parametrize("time", published.published(), ids=lambda one: one.name)
def test_a_published_time_is_met_within_a_factor_of_two(time: published.Published) -> None:
    for minutes in (time.predicted(A100_40.utilisation), *time.cells(A100_40.utilisation)):
        assert 0.5 <= minutes / time.minutes <= 2


@pytest.mark.parametrize("time", published.published(), ids=lambda one: one.name)
def test_the_other_times_predict_the_one_left_out_within_a_factor_of_two(time: published.Published) -> None:
    _, predicted = published.left_out()[time.name]
    assert 0.5 <= predicted / time.minutes <= 2


def test_one_figure_for_a_chip_is_the_fit_to_all_published_times() -> None:
    assert A100_40.utilisation == A100_80.utilisation
    assert A100_40.utilisation == pytest.approx(published.fitted(published.published()), abs=0.02)
    print("", *published.table(), sep="\n")


def test_the_plan_s_own_costs_are_the_predictions() -> None:
    """No cell has a figure of its own: the plan computes what the fitted model says."""
    for stage in published.plan().stages:
        if stage.kind.name in ("sft", "dpo", "reference"):
            assert stage.cost == published.stage_seconds(stage, A100_40.utilisation)


def test_one_seed_of_the_published_cells_costs_what_the_published_times_add_up_to() -> None:
    """Alignment study, section 12: about 37 GPU-hours of training a seed. Evaluation stands beside it."""
    found = phases(published.plan())
    assert found["training"]["gpu_hours"] == pytest.approx(37, rel=0.25)
    assert 2 < found["evaluation"]["gpu_hours"] / found["training"]["gpu_hours"] < 5


def test_the_page_states_what_the_code_computes() -> None:
    lines = PAGE.read_text().splitlines()
    assert [row for row in published.table() if row not in lines] == []
    for gpu in GPUS:
        assert any(
            line.startswith(f"| {gpu.name} ") and f"| {gpu.utilisation:.2f} |" in line for line in lines
        )


def test_every_gpu_type_has_one_utilisation_and_they_are_named_once() -> None:
    assert len({gpu.name for gpu in GPUS}) == len(GPUS)
    assert {"A100 40GB", "A100 80GB", "H100 80GB"} <= {gpu.name for gpu in GPUS}
    assert all(0.1 < gpu.utilisation < 0.8 for gpu in GPUS)


ADAPTER = {"rank": 16}
PAIRS = {"sft": {"mask_prompt": True}, "dpo": {}}


@pytest.mark.parametrize(
    ("kind", "recipe", "roles", "measured"),
    [
        (
            "pretrain",
            {"data": {**WORLD, "packed": False}, "training": {"steps": 300, "batch_size": 32}},
            (),
            15.0,
        ),
        ("sft", {"adapter": ADAPTER, "training": {"steps": 63, "batch_size": 8}}, ("base",), 1.5),
        ("dpo", {"adapter": ADAPTER, "training": {"steps": 63, "batch_size": 6}}, ("base", "reference"), 2.8),
        ("reference", {}, ("base",), 0.6),
        ("merge", {}, ("base", "merged", "merged"), 0.02),
    ],
)
def test_measured_seconds_of_the_tiny_scale_are_met(
    kind: str, recipe: dict[str, Any], roles: tuple[str, ...], measured: float
) -> None:
    """docs/measured.md, one thread, a warm worker."""
    if kind in ("sft", "dpo", "reference"):
        recipe = {**recipe, "preferences": {**WORLD, "samples": 504}}
    if kind == "pretrain":
        recipe["data"].pop("max_length", None)
    tiny = architecture_of(TINY_SHAPE)
    assert measured / 2 <= seconds(kind, recipe, CPU, architecture=tiny, roles=roles) <= 2 * measured


def sft(**training: Any) -> dict[str, Any]:
    return {"preferences": {}, "training": {"steps": 100, **training}}


def test_more_work_costs_more() -> None:
    base = seconds("sft", sft())
    assert seconds("sft", sft(steps=200)) > 1.8 * (base - 20)
    assert seconds("sft", sft(batch_size=32)) > base
    assert seconds("sft", sft(), architecture=STORIES_260K) < base
    assert seconds("sft", sft(), CPU) > base
    assert seconds("sft", {**sft(), "adapter": {}}) < base, "frozen weights have no gradient"
    assert seconds("sft", sft(), Resources(gpus=4, gpu_memory_gb=40)) < base / 2


def test_gradient_checkpointing_costs_a_forward_pass() -> None:
    plain, again = (
        seconds("sft", sft(), execution=Execution(micro_batch=4, gradient_checkpointing=checkpointing))
        for checkpointing in (False, True)
    )
    assert 1.2 < again / plain < 1.5


def test_storing_the_base_in_four_bits_costs_time() -> None:
    stored = {**sft(), "adapter": {"quantization": {}}}
    assert seconds("sft", stored) > seconds("sft", {**sft(), "adapter": {}})


def test_a_reference_that_is_given_saves_its_forward_pass() -> None:
    recipe = {"preferences": {}, "training": {"steps": 100}}
    given, own = seconds("dpo", recipe, roles=("reference",)), seconds("dpo", recipe)
    assert 1.1 < own / given < 1.5


def test_validation_is_counted() -> None:
    assert (
        seconds("sft", sft(validation_steps=10))
        > seconds("sft", sft(validation_steps=50))
        > seconds("sft", sft())
    )


def evaluation(**benchmark: Any) -> dict[str, Any]:
    return {"benchmarks": [{"task": "mmlu", **benchmark}]}


def test_evaluation_grows_with_items_shots_and_new_tokens() -> None:
    load = seconds("evaluate", {})
    many, few = (seconds("evaluate", evaluation(limit=limit)) - load for limit in (1600, 160))
    assert many == pytest.approx(10 * few, rel=0.01)
    shots = seconds("evaluate", evaluation(limit=1600, shots=5)) - load
    assert many < shots < 2 * many, "shots are shared by the questions of a subject"
    bbh = {"task": "bbh", "limit": 160}
    assert seconds("evaluate", evaluation(**bbh, new_tokens=64)) > seconds("evaluate", evaluation(**bbh))
    pairs = evaluation(task="preference_accuracy", limit=100, preferences=[{}, {}])
    one = evaluation(task="preference_accuracy", limit=100, preferences=[{}])
    assert seconds("evaluate", pairs) - load == pytest.approx(2 * (seconds("evaluate", one) - load), rel=0.01)


def test_an_adapter_makes_generation_slower() -> None:
    recipe = evaluation(task="bbh", limit=160, new_tokens=64)
    trained = find_kind("sft").recipe.model_validate({"adapter": {}})
    assert seconds("evaluate", recipe, roles=("trained",), given={"trained": trained}) > 1.2 * seconds(
        "evaluate", recipe
    )


def test_a_merge_grows_with_its_parents() -> None:
    four = seconds("merge", {}, CPU, roles=("merged",) * 4)
    assert four == pytest.approx(2 * seconds("merge", {}, CPU, roles=("merged", "merged")), rel=0.01)


def test_prompt_sets_are_generated() -> None:
    def generate(items: int) -> dict[str, Any]:
        source = {"name": "alpacaeval", "format": "alpaca_eval", "limit": items, "new_tokens": 100}
        return {"prompts": [source]}

    load = seconds("generate", {"prompts": []})
    assert seconds("generate", generate(320)) - load == pytest.approx(
        10 * (seconds("generate", generate(32)) - load), rel=0.01
    )


ANSWERS = find_kind("generate").recipe.model_validate(
    {"prompts": [{"name": "alpacaeval", "format": "alpaca_eval", "limit": 160, "new_tokens": 200}]}
)


def judging(judge: dict[str, Any], **settings: Any) -> float:
    recipe = {"task": "alpacaeval", "judge": judge, **settings}
    return seconds("judge", recipe, roles=("generations",), given={"generations": ANSWERS})


def test_a_service_is_asked_several_times_at_once() -> None:
    """160 answers in both orders, 2 s each, 8 at a time."""
    start = seconds("judge", {"judge": {"rule": "safety"}})
    endpoint = {"endpoint": {"model": "any"}}
    assert judging(endpoint) - start == pytest.approx(160 * 2 * 2 / 8)
    assert judging(endpoint, orders="given") - start == pytest.approx(160 * 2 / 8)


def test_a_local_judge_reads_every_answer() -> None:
    start = seconds("judge", {"judge": {"rule": "safety"}})
    scored = judging({"classifier": {}}, shape="score") - start
    assert judging({"causal": {}}) - start > 2 * scored > 0, "both orders of two answers and an instruction"


def factuality(extractor: dict[str, Any], judge: dict[str, Any]) -> float:
    recipe = {"task": "alpacaeval", "extractor": extractor, "judge": judge}
    return seconds("factuality", recipe, roles=("generations",), given={"generations": ANSWERS})


def test_facts_are_listed_by_sentence_and_judged_one_by_one() -> None:
    """160 answers of 200 tokens: 1,280 sentences and 2,667 facts, 2 s each, 8 at a time."""
    start = factuality({"rule": "claims"}, {"rule": "truth"})
    endpoint = {"endpoint": {"model": "any"}}
    assert factuality(endpoint, {"rule": "truth"}) - start == pytest.approx(1280 * 2 / 8)
    both = factuality(endpoint, endpoint) - start
    assert both == pytest.approx((1280 + 160 * 200 / 12) * 2 / 8, rel=1e-3)
    assert factuality({"causal": {}}, {"rule": "truth"}) > start
    assert factuality({"rule": "claims"}, {"classifier": {}}) > start


@pytest.mark.parametrize("kind", ["rloo", "grpo"])
def test_online_steps_cost_their_completions_and_updates(kind: str) -> None:
    def online(**others: Any) -> float:
        training = {"steps": 10, "batch_size": 64, **others.pop("training", {})}
        return seconds(kind, {"instructions": {}, "training": training, **others})

    start = online(training={"steps": 1})
    assert online(training={"steps": 40}) - start > 3.5 * (online() - start)
    assert online(num_iterations=5) < online(), "fewer generations"
    assert online(max_completion_length=600) > online()


def test_every_draw_of_best_of_n_is_generated_and_scored() -> None:
    def drawn(count: int) -> float:
        source = {"name": "alpacaeval", "format": "alpaca_eval", "limit": 32, "new_tokens": 100}
        return seconds("generate", {"prompts": [source], "best_of": count, "temperature": 1.0})

    load = seconds("generate", {"prompts": []})
    assert drawn(8) - load > 8 * (drawn(1) - load)


def test_instructions_are_counted_as_alpaca_s_rows() -> None:
    given = {"instructions": {"source": {"hub": "tatsu-lab/alpaca"}}, "training": {"steps": 100}}
    assert seconds("sft", given) < seconds("sft", sft()), "HH-RLHF's dialogues are longer"
    assert seconds("sft", {**given, "max_length": 32}) < seconds("sft", given)


def test_a_row_of_which_nothing_is_known_is_half_of_the_longest() -> None:
    def row(longest: int) -> float:
        return seconds("sft", {"training": {"steps": 100}, "max_length": longest})

    assert row(64) < row(512) < row(600)
    assert row(600) == row(2048), "three hundred tokens at most"


def test_the_tiny_grid_takes_about_as_long_as_it_was_measured_to() -> None:
    """docs/measured.md: 10.4 minutes on two cores."""
    plan = plan_grid(load_grid(published.GRID))
    assert 10.4 / 1.5 < sum(stage.cost for stage in plan.stages) / 2 / 60 < 10.4 * 1.5


def test_a_kind_that_the_model_does_not_know_costs_a_default() -> None:
    kind = find_kind("tests.support.toys:TOY")
    assert 0 < seconds_of(kind, kind.recipe()) < 60


def seconds_of(kind: Any, recipe: Recipe) -> float:
    return expected_seconds(kind, recipe, architecture=FALLBACK, resources=CPU)


def test_a_kind_of_one_s_own_costs_by_its_steps() -> None:
    """Nothing is known of it but how many steps its recipe says, if it says any."""
    toy = "tests.support.toys:COUNT"
    plain, long = (seconds(toy, recipe, CPU) for recipe in ({}, {"training": {"steps": 800}}))
    assert plain == 1.0
    assert long == pytest.approx(21.0)
