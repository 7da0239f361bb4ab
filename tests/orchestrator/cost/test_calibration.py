"""Factors from measured attempts: the closest ones count, comparably long ones, and memory is only ever raised."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cost import FALLBACK, GPUS
from orchestrator.cost.accelerators import CPU
from orchestrator.cost.calibration import Calibration, Likeness, Sample
from workers.kinds import find_kind

WIDE = replace(FALLBACK, hidden=4096)
NEAR = Likeness("sft", "CPU thread", ("adapter",), FALLBACK)
OTHER_MODEL = replace(NEAR, shape=WIDE)
OTHER_WORK = replace(OTHER_MODEL, work=())
OTHER_DEVICE = replace(NEAR, device="A100 40GB")
positive = st.floats(min_value=1e-3, max_value=1e3)


def took(factor: float, likeness: Likeness = NEAR, counted: float = 10.0, **others: Any) -> Sample:
    return Sample(likeness, counted, factor * counted, **others)


@given(positive)
def test_without_attempts_nothing_changes(counted: float) -> None:
    calibration = Calibration()
    assert calibration.seconds(NEAR, counted) == counted
    assert calibration.gigabytes(NEAR, counted) == counted
    assert calibration.applied == 0


@given(st.lists(positive, min_size=1, max_size=9), st.floats(min_value=1.0, max_value=100.0))
def test_one_factor_moves_every_like_stage(factors: list[float], counted: float) -> None:
    """The median: between the extremes, and it scales with what was counted."""
    calibration = Calibration([took(factor) for factor in factors])
    found = calibration.seconds(NEAR, counted) / counted
    assert min(factors) <= found * (1 + 1e-9) and found <= max(factors) * (1 + 1e-9)
    assert calibration.applied == len(factors)


def test_the_median_is_not_moved_by_one_slow_attempt() -> None:
    calibration = Calibration([took(2.0), took(2.2), took(90.0)])
    assert calibration.seconds(NEAR, 10.0) == pytest.approx(22.0)


def test_the_closest_attempts_count() -> None:
    calibration = Calibration([took(2.0), took(3.0, OTHER_MODEL), took(7.0, OTHER_WORK)])
    assert calibration.seconds(NEAR, 10.0) == pytest.approx(20.0)
    assert calibration.seconds(OTHER_MODEL, 10.0) == pytest.approx(30.0)
    third = replace(NEAR, shape=replace(FALLBACK, hidden=64))
    assert calibration.seconds(third, 10.0) == pytest.approx(25.0), "the same work on any model"
    assert calibration.seconds(replace(third, work=("mmlu",)), 10.0) == pytest.approx(30.0), "any work"
    assert calibration.seconds(replace(NEAR, kind="dpo"), 10.0) == 10.0


def test_one_device_says_nothing_of_another_s_time() -> None:
    calibration = Calibration([took(5.0)])
    assert calibration.seconds(OTHER_DEVICE, 10.0) == 10.0
    assert calibration.applied == 0


def held(factor: float | None, likeness: Likeness = NEAR, counted: float = 8.0) -> Sample:
    return Sample(likeness, 10.0, 10.0, counted, None if factor is None else factor * counted)


def test_gpus_of_every_type_hold_alike_and_a_cpu_otherwise() -> None:
    calibration = Calibration([held(1.5, OTHER_DEVICE)])
    assert calibration.gigabytes(replace(NEAR, device="H100 80GB"), 8.0) == 12.0
    assert calibration.gigabytes(NEAR, 8.0) == 8.0
    assert calibration.applied == 1


def test_attempts_at_much_shorter_stages_say_nothing() -> None:
    """What every stage costs beside its passes would be multiplied with them."""
    calibration = Calibration([took(8.0, counted=0.5), took(1.5, OTHER_MODEL, counted=80.0)])
    assert calibration.seconds(NEAR, 5.0) == pytest.approx(40.0)
    assert calibration.seconds(NEAR, 100.0) == pytest.approx(150.0), (
        "the next group has one that is comparable"
    )
    assert calibration.seconds(NEAR, 5000.0) == 5000.0


@given(st.lists(st.floats(min_value=0.1, max_value=3.0), min_size=1, max_size=6))
def test_memory_is_the_most_that_was_held_and_never_less_than_counted(factors: list[float]) -> None:
    calibration = Calibration([held(factor) for factor in factors])
    assert calibration.gigabytes(NEAR, 8.0) == pytest.approx(8 * max(1.0, *factors))


def test_small_stages_say_nothing_of_the_memory_of_large_ones() -> None:
    """Hundreds of MB that an allocator holds beside a few counted would be multiplied with them."""
    calibration = Calibration([held(40.0, counted=0.015)])
    assert calibration.gigabytes(NEAR, 20.0) == 20.0
    assert calibration.gigabytes(NEAR, 0.02) == pytest.approx(0.8)


def test_other_work_says_nothing_of_memory() -> None:
    assert Calibration([held(2.0, replace(NEAR, work=()))]).gigabytes(NEAR, 8.0) == 8.0


def test_attempts_without_a_figure_of_memory_are_passed_over() -> None:
    calibration = Calibration([held(None), held(1.25, OTHER_MODEL)])
    assert calibration.gigabytes(NEAR, 8.0) == 10.0


@pytest.mark.parametrize(
    ("kind", "recipe", "work"),
    [
        ("sft", {"preferences": {}, "adapter": None}, ()),
        ("sft", {"preferences": {}, "adapter": {}}, ("adapter",)),
        ("sft", {"preferences": {}, "adapter": {"quantization": {}}}, ("adapter", "stored in fewer bits")),
        ("evaluate", {"benchmarks": [{"task": "safety"}, {"task": "mmlu"}]}, ("mmlu", "safety")),
        ("reference", {"preferences": {}, "quantization": {}}, ("stored in fewer bits",)),
        ("pretrain", {"data": {}, "quantization": None}, ()),
        (
            "pretrain",
            {"data": {}, "quantization": {"weights": {"bits": 8}, "first_moment": {}}},
            ("weights in fewer bits", "first_moment in fewer bits"),
        ),
        ("analyze", {"analyses": ["sharpness", "outliers"]}, ("outliers", "sharpness")),
    ],
)
def test_what_a_stage_does_is_part_of_its_likeness(
    kind: str, recipe: dict[str, Any], work: tuple[str, ...]
) -> None:
    settings = find_kind(kind).recipe.model_validate(recipe)
    assert Likeness.of(kind, settings, CPU, FALLBACK) == Likeness(kind, "CPU thread", work, FALLBACK)
    assert Likeness.of(kind, settings, GPUS[1], FALLBACK).device == "A100 40GB"
