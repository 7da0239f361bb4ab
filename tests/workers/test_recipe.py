"""Recipes and resources: what is hashed, what is refused, what a shape is called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from workers.recipe import Execution, Recipe, Resources, Settings, non_default

RESOURCES = st.builds(
    Resources,
    cpus=st.integers(1, 64),
    gpus=st.sampled_from([0.0, 0.25, 0.5, 1.0, 8.0]),
    gpu_memory_gb=st.sampled_from([24.0, 40.0, 80.0]),
    memory_gb=st.sampled_from([0.5, 2.0, 64.0, 512.0]),
    hours=st.sampled_from([1.0, 24.0]),
    network=st.booleans(),
)


class Inner(Settings):
    rate: float = 0.1
    names: tuple[str, ...] = ("a",)


class Sample(Recipe):
    inner: Inner = Inner()
    other: Inner | None = None
    size: int = 4


class SampleWithMore(Sample):
    added_later: bool = False


SAMPLES = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 5),
        "threads": st.integers(1, 4),
        "size": st.integers(2, 6),
        "inner": st.builds(
            Inner, rate=st.sampled_from([0.1, 0.2]), names=st.sampled_from([("a",), ("a", "b"), ()])
        ),
        "other": st.none() | st.builds(Inner, rate=st.sampled_from([0.1, 0.2])),
    },
)


@given(SAMPLES)
def test_what_differs_from_the_defaults_says_it_all(settings: dict[str, object]) -> None:
    recipe = Sample(**settings)
    assert Sample.model_validate(non_default(recipe)) == recipe


@given(SAMPLES, SAMPLES)
def test_two_recipes_hash_alike_exactly_when_they_are_equal(
    left: dict[str, object], right: dict[str, object]
) -> None:
    one, two = Sample(**left), Sample(**right)
    assert (non_default(one) == non_default(two)) == (one == two)


@given(SAMPLES)
def test_a_setting_that_is_added_later_changes_no_older_recipe(settings: dict[str, object]) -> None:
    assert non_default(SampleWithMore(**settings)) == non_default(Sample(**settings))


def test_only_what_was_changed_inside_a_nested_setting_is_said() -> None:
    assert non_default(Sample(inner=Inner(rate=0.5))) == {"inner": {"rate": 0.5}}
    assert non_default(Sample(inner=Inner(rate=0.1), size=4)) == {}
    assert non_default(Sample(other=Inner())) == {"other": {}}


def test_a_setting_that_does_not_exist_is_refused() -> None:
    for model in (Sample, Execution, Resources, Inner):
        with pytest.raises(ValidationError, match="sizes"):
            model(sizes=3)


def test_settings_cannot_change_once_made() -> None:
    recipe = Sample()
    with pytest.raises(ValidationError, match="frozen"):
        recipe.size = 5
    assert len({Sample(), Sample(size=4), Sample(size=5)}) == 2


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        (Recipe, {"threads": 0}),
        (Execution, {"micro_batch": 0}),
        (Execution, {"hang_seconds": 0}),
        (Execution, {"checkpoint_seconds": -1}),
        (Execution, {"checkpoint_steps": 0}),
        (Execution, {"device": "tpu"}),
        (Resources, {"cpus": 0}),
        (Resources, {"gpus": -1}),
        (Resources, {"memory_gb": 0}),
        (Resources, {"hours": 0}),
    ],
)
def test_what_no_machine_can_do_is_refused(model: type[Settings], settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(settings))):
        model(**settings)


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({}, "cpu1-mem2g"),
        ({"gpus": 1, "gpu_memory_gb": 40, "cpus": 8, "memory_gb": 64}, "gpu1x40g-cpu8-mem64g"),
        ({"gpus": 0.25, "cpus": 2}, "gpu0.25-cpu2-mem2g"),
        ({"network": True, "memory_gb": 0.5}, "cpu1-mem0.5g-net"),
    ],
)
def test_a_shape_is_readable(settings: dict[str, object], shape: str) -> None:
    assert Resources(**settings).shape == shape


@given(RESOURCES, RESOURCES)
def test_equal_needs_and_only_they_make_one_shape(left: Resources, right: Resources) -> None:
    """Time is no part of a shape, and GPU memory matters only where there is a GPU."""

    def needs(one: Resources) -> tuple[object, ...]:
        return one.cpus, one.gpus, one.gpu_memory_gb if one.gpus else None, one.memory_gb, one.network

    assert (left.shape == right.shape) == (needs(left) == needs(right))
