"""AdamW with quantized moments against NumPy, step by step."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.workers.quantization import reference
from tests.workers.quantization.models import model_of, tokens
from workers.quantization.optimizer import QuantizedAdamW, quantized_adamw, quantized_weights
from workers.quantization.rounding import Dice
from workers.specs.quantized import MomentQuantizer, QuantizedTraining

SETTINGS = {"lr": 0.01, "weight_decay": 0.1, "eps": 1e-8}
BETAS = (0.9, 0.99)
STEPS = 6
ARMS = {
    "m8 row": (MomentQuantizer(), None),
    "m4 tensor": (MomentQuantizer(bits=4, axis="tensor"), None),
    "v8 row": (None, MomentQuantizer()),
    "v8 unsigned": (None, MomentQuantizer(code="unsigned", axis="tensor")),
    "v8 nonzero": (None, MomentQuantizer(code="nonzero", floor=1e-12)),
    "v4 nonzero in groups": (None, MomentQuantizer(bits=4, code="nonzero", axis="group:3", floor=0.0)),
    "both": (MomentQuantizer(), MomentQuantizer(code="nonzero")),
    "neither": (None, None),
}


def optimizer_of(
    weight: nn.Parameter, first, second, *, turned: bool = False, seed: int = 0
) -> QuantizedAdamW:
    moments, quantized = (first, second), [(weight, turned)]
    return QuantizedAdamW(
        [weight], moments=moments, quantized=quantized, dice=Dice(seed), betas=BETAS, **SETTINGS
    )


def gradient(step: int, shape: tuple[int, int]) -> np.ndarray:
    draw = np.random.default_rng(step)
    return (draw.normal(size=shape) * 10.0 ** draw.uniform(-3, 0, size=shape)).astype(np.float32)


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("turned", [False, True])
def test_step_by_step(arm: str, turned: bool) -> None:
    """A weight stored as (in, out) has the rows of its transpose."""
    first, second = ARMS[arm]
    start = gradient(99, (5, 7))
    weight = nn.Parameter(torch.from_numpy((start.T if turned else start).copy()))
    optimizer = optimizer_of(weight, first, second, turned=turned)
    expected = reference.Adam(start, first, second, beta1=BETAS[0], beta2=BETAS[1], **SETTINGS)
    for step in range(STEPS):
        found = gradient(step, start.shape)
        weight.grad = torch.from_numpy((found.T if turned else found).copy())
        optimizer.step()
        expected.step(found)
        result = weight.detach().numpy()
        np.testing.assert_allclose(result.T if turned else result, expected.w, rtol=2e-5, atol=2e-6)


def test_without_quantizers_it_is_torchs_own() -> None:
    weights = [nn.Parameter(torch.ones(4, 4)) for _ in range(2)]
    ours = optimizer_of(weights[0], None, None)
    torchs = torch.optim.AdamW([weights[1]], betas=BETAS, **SETTINGS)
    for step in range(STEPS):
        for weight, optimizer in zip(weights, (ours, torchs), strict=True):
            weight.grad = torch.from_numpy(gradient(step, (4, 4)))
            optimizer.step()
    assert torch.equal(*weights)


def test_a_second_moment_that_became_zero_makes_steps_large() -> None:
    """The mechanism of section 4.5: up to 1 / sqrt(1 - beta2) times the step."""
    moved = {}
    for code in ("signed", "nonzero"):
        weight = nn.Parameter(torch.zeros(1, 2))
        optimizer = optimizer_of(weight, None, MomentQuantizer(code=code, floor=0.0))
        optimizer.param_groups[0]["weight_decay"] = 0.0
        for _ in range(20):
            weight.grad = torch.tensor([[1.0, 0.01]])
            optimizer.step()
        moved[code] = float(-weight.detach()[0, 1])
    assert moved["signed"] > 2 * moved["nonzero"]


def test_stochastic_rounding_of_a_step_depends_on_seed_and_step_alone() -> None:
    def trained(seed: int, reload_at: int | None = None) -> torch.Tensor:
        recipe = MomentQuantizer(bits=4, rounding="stochastic")
        weight = nn.Parameter(torch.ones(4, 4))
        optimizer = optimizer_of(weight, recipe, None, seed=seed)
        for step in range(STEPS):
            if step == reload_at:
                state = optimizer.state_dict()
                optimizer = optimizer_of(weight, recipe, None, seed=seed)
                optimizer.load_state_dict(state)
            weight.grad = torch.from_numpy(gradient(step, (4, 4)))
            optimizer.step()
        return weight.detach()

    assert torch.equal(trained(1), trained(1, reload_at=3))
    assert not torch.equal(trained(1), trained(2))


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
@pytest.mark.parametrize("tied", [True, False])
def test_only_weights_of_linear_layers_are_quantized(architecture: str, tied: bool) -> None:
    model = model_of(architecture, tied=tied)
    names = {id(each): name for name, each in model.named_parameters()}
    recipe = QuantizedTraining(first_moment=MomentQuantizer(), head=True)
    found = {names[id(weight)]: turned for weight, turned in quantized_weights(model, recipe)}
    assert ("lm_head.weight" in found) is not tied
    assert not any("norm" in name or "wte" in name or "embed" in name or "bias" in name for name in found)
    assert {turned for name, turned in found.items() if "lm_head" not in name} == {architecture == "gpt2"}


def test_a_model_trains() -> None:
    model = model_of("gpt2")
    recipe = QuantizedTraining(first_moment=MomentQuantizer(), second_moment=MomentQuantizer(code="nonzero"))
    kind, arguments = quantized_adamw(model, recipe, Dice(0), {"lr": 3e-3})
    optimizer = kind(model.parameters(), **arguments)
    losses = []
    for _ in range(12):
        loss = model(input_ids=tokens(), labels=tokens()).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0] - 0.3
