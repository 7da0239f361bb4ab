"""Uniform quantizers against the study's equations in NumPy, and by their properties."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.workers.quantization import reference
from workers.quantization.rounding import Dice
from workers.quantization.uniform import UniformQuantizer, signed_levels, uniform_quantizer
from workers.specs.quantized import Quantizer

AXES = ("tensor", "row", "column", "group:3")
BITS = range(2, 9)
quick = settings(max_examples=40, deadline=None)
matrices = arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 8)),
    elements=st.integers(-100_000, 100_000).map(lambda number: np.float32(number / 1024)),
)
recipes = st.builds(
    Quantizer, bits=st.sampled_from(BITS), axis=st.sampled_from(AXES), symmetric=st.booleans()
)
symmetric = recipes.map(lambda recipe: recipe.model_copy(update={"symmetric": True}))


def quantizer(recipe: Quantizer, seed: int = 0) -> UniformQuantizer:
    dice = Dice(seed)
    dice.start(0)
    return uniform_quantizer(recipe, dice)


def quantized(recipe: Quantizer, values) -> np.ndarray:
    return quantizer(recipe)(torch.from_numpy(np.asarray(values, np.float32))).numpy()


def steps(recipe: Quantizer, values: np.ndarray) -> np.ndarray:
    """The scale of every entry."""
    scale = np.empty_like(values)
    for index in reference.groups(values.shape, recipe.axis):
        scale[index], _ = reference.scale_of(values[index], recipe.bits, recipe.symmetric, recipe.floor)
    return scale


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("is_symmetric", [True, False])
@pytest.mark.parametrize("bits", BITS)
def test_the_equations(bits: int, is_symmetric: bool, axis: str) -> None:
    values = np.random.default_rng(bits).normal(size=(7, 11)).astype(np.float32)
    values[0] = 0
    recipe = Quantizer(bits=bits, axis=axis, symmetric=is_symmetric)
    found, inside = quantizer(recipe).quantize(torch.from_numpy(values), mask=True)
    expected, expected_inside = reference.quantize(values, bits, axis, is_symmetric)
    np.testing.assert_array_equal(found.numpy(), expected)
    np.testing.assert_array_equal(inside.numpy(), expected_inside)


def test_levels_are_those_of_the_study() -> None:
    assert (signed_levels(8), signed_levels(4)) == ((-128, 127), (-8, 7))


def test_symmetric_codes_leave_the_lowest_level_unused_and_asymmetric_ones_the_highest() -> None:
    values = torch.linspace(-3, 3, 1001).unsqueeze(0)
    spans = {}
    for kind in (True, False):
        codes = quantizer(Quantizer(bits=4, axis="row", symmetric=kind)).coded(values).codes
        spans[kind] = (int(codes.min()), int(codes.max()))
    assert spans == {True: (-7, 7), False: (-8, 6)}


def test_halves_go_to_the_even_code() -> None:
    recipe = Quantizer(bits=4, axis="tensor")
    assert quantized(recipe, [[7.0, 0.5, 1.5, 2.5, -0.5, -1.5]]).tolist() == [[7, 0, 2, 2, 0, -2]]


def test_the_floor_bounds_the_scale() -> None:
    values = [[1e-7, -1e-7, 3e-6]]
    assert quantized(Quantizer(bits=4, floor=7e-3), values).tolist() == [[0, 0, 0]]
    unbounded = quantizer(Quantizer(bits=4, floor=0.0)).coded(torch.tensor(values))
    assert float(unbounded.scale) == pytest.approx(3e-6 / 7)


@pytest.mark.parametrize("is_symmetric", [True, False])
@pytest.mark.parametrize("floor", [0.0, 1e-5])
@pytest.mark.parametrize("value", [0.0, 1e-45, 2.5])
def test_constant_blocks_are_no_trouble(is_symmetric: bool, floor: float, value: float) -> None:
    found = quantized(Quantizer(symmetric=is_symmetric, floor=floor), [[value] * 3])
    assert np.isfinite(found).all()
    assert found == pytest.approx(np.full((1, 3), value), rel=0.01, abs=1e-5)


def test_scales_are_computed_in_float32_whatever_the_type() -> None:
    values = torch.randn(16, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = quantizer(Quantizer())(values)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy(), reference.quantize(values.float().numpy(), 8, "row")[0])


def test_a_row_is_a_row_of_any_tensor_and_of_a_transpose() -> None:
    values = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(1))
    found = quantizer(Quantizer(bits=3))(values)
    expected = quantizer(Quantizer(bits=3))(values.view(15, 8)).view(3, 5, 8)
    assert torch.equal(found, expected)
    turned = quantizer(Quantizer(bits=3, axis="column"))(values[0].t())
    assert torch.equal(turned.t(), quantizer(Quantizer(bits=3))(values[0]))


def test_a_group_may_end_with_the_row() -> None:
    values = torch.tensor([[1.0, 2.0, 100.0, 90.0, 0.011]])
    found = quantizer(Quantizer(axis="group:2"))(values)
    assert found[0, 4] == pytest.approx(0.011)
    assert found.shape == values.shape


@quick
@given(matrices, recipes)
def test_quantized_values_stay(values, recipe) -> None:
    once = quantized(recipe, values)
    np.testing.assert_allclose(quantized(recipe, once), once, rtol=1e-5, atol=1e-6)


@quick
@given(matrices, recipes)
def test_the_error_is_at_most_half_a_step(values, recipe) -> None:
    bound = steps(recipe, values) / 2
    assert (np.abs(quantized(recipe, values) - values) <= bound * (1 + 1e-4) + 1e-5).all()


@quick
@given(matrices, symmetric)
def test_signs_do_not_matter(values, recipe) -> None:
    np.testing.assert_array_equal(quantized(recipe, -values), -quantized(recipe, values))


@quick
@given(matrices, recipes, st.integers(-20, 20))
def test_powers_of_two_do_not_matter(values, recipe, power) -> None:
    free = recipe.model_copy(update={"floor": 0.0})
    factor = np.float32(2.0**power)
    np.testing.assert_array_equal(quantized(free, values * factor), quantized(free, values) * factor)


@quick
@given(matrices, recipes)
def test_order_is_kept_within_a_block(values, recipe) -> None:
    found = quantized(recipe.model_copy(update={"axis": "tensor"}), values).ravel()
    assert (np.diff(found[np.argsort(values.ravel(), kind="stable")]) >= 0).all()


def test_stochastic_rounding_keeps_the_mean_and_whole_codes() -> None:
    recipe = Quantizer(bits=4, axis="tensor", rounding="stochastic")
    dice = Dice(3)
    rounding = uniform_quantizer(recipe, dice)
    values = torch.tensor([[7.0, 2.25, -3.6, 4.0]])
    draws = torch.stack([rounding(values) for _ in range(4000)])
    assert draws[:, 0, 0].unique().tolist() == [7.0]
    assert draws[:, 0, 3].unique().tolist() == [4.0]
    assert sorted(draws[:, 0, 2].unique().tolist()) == [-4.0, -3.0]
    assert draws.mean(0)[0].tolist() == pytest.approx([7, 2.25, -3.6, 4], abs=0.05)


def test_the_stream_of_a_step_depends_on_seed_and_step_alone() -> None:
    like = torch.zeros(64)

    def draw(seed: int, *steps: int) -> list[float]:
        dice = Dice(seed)
        for step in steps:
            dice.start(step)
            found = dice.uniform(like)
        return found.tolist()

    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    assert draw(1, 5) == draw(1, 3, 4, 5)
    assert draw(1, 5) != draw(1, 6)
    assert draw(1, 5) != draw(2, 5)
    assert torch.equal(torch.random.get_rng_state(), before), "nobody else's stream is touched"
