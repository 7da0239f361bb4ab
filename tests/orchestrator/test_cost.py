"""Expected seconds: measured ones first, else a model that is right within a factor of about two."""

from typing import Any

import pytest

from orchestrator.cost import expected_seconds, like_stages, model_parameters
from workers.kinds import find_kind
from workers.recipe import Resources

CPU = Resources()
GPU = Resources(gpus=1, gpu_memory_gb=40)
LENGTHS = {"max_prompt_length": 1024, "max_length": 1536}
PAPER = {"steps": 700, "batch_size": 16}
TINY = {"steps": 63, "batch_size": 8}
ADAPTER = {"rank": 16, "quantization": {}}


def seconds(kind: str, recipe: dict[str, Any], parameters: float, resources: Resources, *roles: str) -> float:
    found = find_kind(kind)
    settings = found.recipe.model_validate(recipe)
    return expected_seconds(found, kind, settings, parameters=parameters, resources=resources, roles=roles)


@pytest.mark.parametrize(
    ("kind", "recipe", "roles", "minutes"),
    [
        ("sft", {"adapter": ADAPTER, "preferences": LENGTHS, "training": PAPER}, (), (15, 40)),
        ("dpo", {"adapter": ADAPTER, "preferences": LENGTHS, "training": PAPER}, (), (50, 120)),
    ],
)
def test_published_wall_times_are_met(
    kind: str, recipe: dict[str, Any], roles: tuple[str, ...], minutes: tuple[float, float]
) -> None:
    """Alignment study, section 12: SFT 15 to 20 minutes, DPO 60 to 90, on one 40 GB A100."""
    found = seconds(kind, recipe, 7e9, GPU, *roles) / 60
    assert minutes[0] <= found <= minutes[1]


@pytest.mark.parametrize(
    ("kind", "recipe", "measured"),
    [
        ("pretrain", {"training": {"steps": 300, "batch_size": 32}}, 15.0),
        ("sft", {"adapter": ADAPTER, "preferences": {"max_length": 64}, "training": TINY}, 2.0),
        ("dpo", {"adapter": ADAPTER, "preferences": {"max_length": 64}, "training": TINY}, 3.5),
    ],
)
def test_measured_seconds_of_the_tiny_scale_are_met(
    kind: str, recipe: dict[str, Any], measured: float
) -> None:
    assert measured / 2 <= seconds(kind, recipe, 1.56e5, CPU, "base", "reference") <= 2 * measured


def test_like_stages_that_were_measured_come_first() -> None:
    found = find_kind("merge")
    measured = {like_stages("merge", "mix"): 42.0}
    arguments: dict[str, Any] = {"parameters": 1e9, "resources": CPU, "measured": measured}
    assert expected_seconds(found, "mix", found.recipe(), **arguments) == 42.0
    assert expected_seconds(found, "other", found.recipe(), **arguments) != 42.0


def test_more_work_costs_more() -> None:
    def sft(steps: int) -> dict[str, Any]:
        return {"preferences": {}, "training": {"steps": steps}}

    assert seconds("sft", sft(20), 1e6, CPU) > seconds("sft", sft(10), 1e6, CPU)
    assert seconds("sft", sft(10), 2e8, CPU) > seconds("sft", sft(10), 1e8, CPU)
    assert seconds("sft", sft(10), 1e9, CPU) > seconds("sft", sft(10), 1e9, GPU)
    frozen = {**sft(10), "adapter": {}}
    assert seconds("sft", sft(10), 1e9, CPU) > seconds("sft", frozen, 1e9, CPU)


def test_a_reference_that_is_given_saves_half_of_a_third() -> None:
    recipe = {"preferences": LENGTHS, "training": PAPER}
    assert seconds("dpo", recipe, 7e9, GPU, "reference") < seconds("dpo", recipe, 7e9, GPU)


def test_evaluation_grows_with_its_items() -> None:
    def evaluate(limit: int) -> dict[str, Any]:
        return {"benchmarks": [{"task": "mmlu", "limit": limit}]}

    assert seconds("evaluate", evaluate(1000), 1e8, CPU) > 5 * seconds("evaluate", evaluate(100), 1e8, CPU)
    pairs = {"benchmarks": [{"task": "preference_accuracy", "limit": 100, "preferences": [{}, {}]}]}
    assert seconds("evaluate", pairs, 1e8, CPU) > seconds("evaluate", evaluate(100), 1e8, CPU)


def test_a_merge_grows_with_its_parents() -> None:
    four = seconds("merge", {}, 7e9, CPU, *["merged"] * 4)
    assert four > seconds("merge", {}, 7e9, CPU, "merged", "merged")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"hub": "mistralai/Mistral-7B-v0.1"}, 7.2e9),
        ({"hub": "karpathy/stories260K-hf"}, 2.6e5),
        ({"hub": "nobody/knows"}, None),
        ({}, None),
    ],
)
def test_sizes_of_known_models(model: dict[str, Any], expected: float | None) -> None:
    assert model_parameters(find_kind("sft").recipe.model_validate({"model": model})) == expected


def test_the_size_of_a_shape_is_counted() -> None:
    recipe = find_kind("pretrain").recipe()
    assert model_parameters(recipe) == pytest.approx(1.56e5, rel=0.15)
