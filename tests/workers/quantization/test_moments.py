"""The codes of optimizer states."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.workers.quantization import reference
from workers.quantization.moments import moment_quantizer
from workers.quantization.rounding import Dice
from workers.specs.quantized import MomentQuantizer

LINEAR = ("signed", "unsigned", "nonzero")
quick = settings(max_examples=40, deadline=None)
positive = arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 6)),
    elements=st.integers(0, 1 << 20).map(lambda number: np.float32(number / 1024)),
)


def quantized(values, **settings) -> np.ndarray:
    recipe = MomentQuantizer(**settings)
    return moment_quantizer(recipe, Dice(0))(torch.from_numpy(np.asarray(values, np.float32))).numpy()


@pytest.mark.parametrize("axis", ["tensor", "row", "column", "group:4"])
@pytest.mark.parametrize("code", LINEAR)
@pytest.mark.parametrize("bits", [4, 8])
def test_the_linear_codes(bits: int, code: str, axis: str) -> None:
    values = np.random.default_rng(0).normal(size=(6, 10)).astype(np.float32) ** 2
    values[1] = 1e-12
    found = quantized(values, bits=bits, axis=axis, code=code, floor=1e-8)
    np.testing.assert_array_equal(found, reference.moment(values, bits, axis, code, 1e-8))


def test_how_many_levels_each_code_has() -> None:
    values = np.linspace(0, 1, 100_001, dtype=np.float32)[None]
    counts = {
        code: len(np.unique(quantized(values, code=code)))
        for code in ("signed", "unsigned", "nonzero", "logarithmic")
    }
    assert counts == {"signed": 128, "unsigned": 256, "nonzero": 256, "logarithmic": counts["logarithmic"]}
    assert counts["logarithmic"] > 100


def test_what_becomes_of_small_entries() -> None:
    """An entry below the 254th part of the largest is 0 in the study's code: its step grows without bound."""
    values = [[1.0, 1 / 300, 1e-6]]
    assert quantized(values, code="signed")[0, 1:].tolist() == [0, 0]
    assert quantized(values, code="nonzero")[0, 1:].tolist() == [1 / 256, 1 / 256]
    assert quantized(values, code="logarithmic")[0, 1:] == pytest.approx([1 / 300, 1e-6], rel=0.05)


@quick
@given(positive)
def test_no_code_without_zero_gives_zero(values) -> None:
    for code in ("nonzero", "logarithmic"):
        assert (quantized(values, code=code) > 0).all()


@quick
@given(positive)
def test_the_logarithmic_code_is_near_in_proportion(values) -> None:
    found = quantized(values, axis="tensor", code="logarithmic", bits=8, octaves=32.0, floor=0.0)
    held = values >= max(values.max(), np.finfo(np.float32).tiny) * 2.0**-31
    ratio = found[held] / np.maximum(values[held], np.finfo(np.float32).tiny)
    assert (np.abs(np.log2(ratio)) <= 32 / 255 / 2 + 1e-3).all()


@quick
@given(positive, st.sampled_from([*LINEAR, "logarithmic"]))
def test_quantized_moments_stay(values, code) -> None:
    once = quantized(values, code=code)
    np.testing.assert_allclose(quantized(once, code=code), once, rtol=1e-4, atol=1e-12)


def test_the_floor_can_set_the_scale() -> None:
    """With the published floor 1e-8 rows whose largest entry is less have the constant scale 1e-8 / 127."""
    values = [[2e-10, 1.2e-10, 1e-12]]
    assert quantized(values, floor=1e-8)[0] == pytest.approx(
        np.round(np.array(values)[0] / 1e-8 * 127) * 1e-8 / 127
    )
    assert quantized(values, floor=0.0)[0, :2] == pytest.approx(values[0][:2], rel=0.01)
