"""Forward and both backward products against NumPy, for every choice of what sees which rounded tensor."""

from itertools import product

import numpy as np
import pytest
import torch

from tests.workers.quantization import reference
from workers.quantization.products import quantized_linear, scheme_of
from workers.quantization.rounding import Dice
from workers.specs.quantized import GradientQuantizer, QuantizedTraining, Quantizer

TOKENS, INPUTS, OUTPUTS = 6, 10, 9
W4 = Quantizer(bits=4, axis="row")
A4 = Quantizer(bits=4, axis="column", symmetric=False)
G3 = GradientQuantizer(bits=3, axis="row")
TARGETS = {
    "W": {"weights": W4},
    "A": {"activations": A4},
    "G": {"gradients": G3},
    "WAG": {"weights": W4, "activations": A4, "gradients": G3},
}


def tensors(seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    shapes = {"x": (TOKENS, INPUTS), "w": (OUTPUTS, INPUTS), "b": (OUTPUTS,), "g": (TOKENS, OUTPUTS)}
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def computed(
    recipe: QuantizedTraining, given: dict[str, np.ndarray], parts: int = 1
) -> dict[str, np.ndarray]:
    x, w, b = (torch.from_numpy(given[name]).requires_grad_() for name in "xwb")
    dice = Dice(0)
    y = quantized_linear(x, w, b, scheme_of(recipe, dice, parts))
    y.backward(torch.from_numpy(given["g"]))
    assert x.grad is not None and w.grad is not None and b.grad is not None
    found = {"y": y.detach(), "dx": x.grad, "dw": w.grad, "db": b.grad}
    return {name: tensor.numpy() for name, tensor in found.items()}


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("operands", ["full", "quantized"])
@pytest.mark.parametrize("products", ["none", "weight", "input", "both"])
@pytest.mark.parametrize("mask", [False, True])
def test_every_choice(targets: str, operands: str, products: str, mask: bool) -> None:
    recipe = QuantizedTraining.model_validate(
        {**TARGETS[targets], "backward_operands": operands, "gradient_products": products, "clamp_mask": mask}
    )
    given = tensors()
    expected = reference.linear(given["x"], given["w"], given["b"], given["g"], recipe)
    assert_equal(computed(recipe, given), expected)


def test_the_choices_differ() -> None:
    """Else the test above could not fail: each choice moves at least one product."""
    given = tensors()
    found = {}
    for operands, products in product(["full", "quantized"], ["none", "weight", "input", "both"]):
        recipe = QuantizedTraining(
            weights=W4, activations=A4, gradients=G3, backward_operands=operands, gradient_products=products
        )
        outcome = computed(recipe, given)
        found[operands, products] = outcome["dx"].tobytes() + outcome["dw"].tobytes()
    assert len(set(found.values())) == len(found)


def test_the_published_gradient_arm_rounds_the_weight_gradient_alone() -> None:
    given = tensors()
    found = computed(QuantizedTraining(gradients=G3), given)
    np.testing.assert_allclose(found["y"], given["x"] @ given["w"].T + given["b"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["dx"], given["g"] @ given["w"], rtol=1e-5, atol=1e-5)
    rounded, _ = reference.quantize(given["g"], 3, "row", floor=1e-9)
    np.testing.assert_allclose(found["dw"], rounded.T @ given["x"], rtol=1e-5, atol=1e-5)


def test_the_clamp_masks_what_an_asymmetric_range_cuts() -> None:
    values = np.array([[0.9, 1.5, 2.9, 1.2]], np.float32)
    recipe = QuantizedTraining(activations=Quantizer(bits=2, axis="row", symmetric=False), clamp_mask=True)
    given = {**tensors(), "x": np.repeat(values, TOKENS, 0), "w": tensors()["w"][:, :4]}
    _, inside = reference.quantize(values, 2, "row", symmetric=False)
    assert not inside.all()
    assert (computed(recipe, given)["dx"][:, ~inside[0]] == 0).all()


def test_a_split_projection_has_a_scale_for_each_part() -> None:
    given = tensors()
    given["g"][:, 3:6] *= 1e-3
    split = QuantizedTraining(gradients=GradientQuantizer(bits=3, axis="tensor", split_projection=True))
    parts = [reference.quantize(part, 3, "tensor", floor=1e-9)[0] for part in np.split(given["g"], 3, axis=1)]
    expected = np.concatenate(parts, axis=1).T @ given["x"]
    np.testing.assert_allclose(computed(split, given, parts=3)["dw"], expected, rtol=1e-5, atol=1e-6)
    whole = computed(QuantizedTraining(gradients=GradientQuantizer(bits=3, axis="tensor")), given, parts=3)
    assert (whole["dw"][3:6] == 0).all(), "one scale for all loses the small third"


def test_autocast_rounds_from_float32_and_multiplies_in_bfloat16() -> None:
    given = tensors()
    recipe = QuantizedTraining(weights=W4, activations=A4, gradients=G3)
    x, w, b = (torch.from_numpy(given[name]).requires_grad_() for name in "xwb")
    with torch.autocast("cpu", torch.bfloat16):
        y = quantized_linear(x, w, b, scheme_of(recipe, Dice(0)))
    assert y.dtype == torch.bfloat16
    y.backward(torch.from_numpy(given["g"]).bfloat16())
    assert (x.grad.dtype, w.grad.dtype, b.grad.dtype) == (torch.float32,) * 3
    rounded, _ = reference.quantize(given["w"], 4, "row")
    inputs, _ = reference.quantize(given["x"], 4, "column", symmetric=False)
    expected = inputs @ rounded.T + given["b"]
    np.testing.assert_allclose(y.detach().float().numpy(), expected, rtol=0.05, atol=0.1)


def test_gradients_nobody_asks_for_are_not_computed() -> None:
    given = tensors()
    x, w = torch.from_numpy(given["x"]), torch.from_numpy(given["w"]).requires_grad_()
    quantized_linear(x, w, None, scheme_of(QuantizedTraining(weights=W4), Dice(0))).sum().backward()
    assert x.grad is None
    assert w.grad is not None


def test_stochastic_gradients_are_right_in_the_mean() -> None:
    recipe = QuantizedTraining(gradients=GradientQuantizer(bits=3, rounding="stochastic"))
    given, dice = tensors(), Dice(1)
    x, w, b = (torch.from_numpy(given[name]) for name in "xwb")
    total = torch.zeros_like(w)
    for _ in range(800):
        each = w.clone().requires_grad_()
        quantized_linear(x, each, b, scheme_of(recipe, dice)).backward(torch.from_numpy(given["g"]))
        total += each.grad
    np.testing.assert_allclose((total / 800).numpy(), given["g"].T @ given["x"], atol=0.25)
