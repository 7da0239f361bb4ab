"""Each analysis against its formula in NumPy, on a model with a closed form."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.workers.quantization import reference
from tests.workers.quantization.analyses.bigram import Bigram, arrays, batch_of, passes, subject_of
from workers.quantization.analyses import (
    gradient_fidelity,
    gradient_histogram,
    outliers,
    output_error,
    sharpness,
)
from workers.quantization.analyses.findings import Findings
from workers.quantization.analyses.gradient_histogram import counts
from workers.quantization.analyses.measured_time import alternated
from workers.quantization.analyses.outliers import flagged, standing
from workers.specs.analyze import AnalyzeRecipe
from workers.specs.quantized import GradientQuantizer, QuantizedTraining, Quantizer

RECIPE = AnalyzeRecipe()
PLAIN = QuantizedTraining()
W4 = QuantizedTraining(weights=Quantizer(bits=4))
A4 = QuantizedTraining(activations=Quantizer(bits=4, axis="column", symmetric=False))
G4 = QuantizedTraining(gradients=GradientQuantizer(bits=4, axis="tensor"), gradient_products="both")
FULL = QuantizedTraining(
    weights=Quantizer(bits=3, axis="tensor"),
    activations=Quantizer(bits=4),
    gradients=GradientQuantizer(bits=4),
    gradient_products="both",
    backward_operands="quantized",
)
RECIPES = pytest.mark.parametrize("quantization", [PLAIN, W4, A4, G4, FULL])


def values(found: Findings) -> dict[str, Any]:
    return {row["metric"]: row["value"] for row in found.rows}


@RECIPES
def test_sharpness_is_the_rise_of_the_loss_one_step_up(quantization: QuantizedTraining) -> None:
    """Section 7.3: e = rho g / (|g| + 1e-12), S = L(w + e) - L(w), the mean over mini-batches."""
    subject = subject_of(quantization)

    def expected(recipe: QuantizedTraining) -> tuple[list[float], list[float], list[float]]:
        rises, losses, norms = [], [], []
        for batch in subject.batches:
            embedding, head = arrays(subject)
            at = passes(embedding, head, batch, recipe)
            norm = np.sqrt((at["dembedding"] ** 2).sum() + (at["dhead"] ** 2).sum())
            moved = [
                weight + 0.05 * at[name] / (norm + 1e-12)
                for weight, name in ((embedding, "dembedding"), (head, "dhead"))
            ]
            rises.append(passes(*moved, batch, recipe)["loss"] - at["loss"])
            losses.append(at["loss"])
            norms.append(norm)
        return rises, losses, norms

    before = [weight.clone() for weight in subject.model.parameters()]
    found = sharpness.measure(subject, RECIPE)
    rises, losses, norms = expected(quantization)
    off, _, _ = expected(PLAIN)
    assert values(found) == pytest.approx(
        {
            "sharpness": np.mean(rises),
            "unquantized": np.mean(off),
            "loss": np.mean(losses),
            "gradient_norm": np.mean(norms),
        },
        abs=2e-6,
    )
    assert found.rows[0]["stderr"] == pytest.approx(np.std(rises, ddof=1) / np.sqrt(2), abs=2e-6)
    assert all(torch.equal(*pair) for pair in zip(subject.model.parameters(), before, strict=True))
    assert all(weight.grad is None for weight in subject.model.parameters())


def test_outliers_are_six_deviations_above_the_mean() -> None:
    even = np.ones(100)
    assert flagged(even, 6) == 0
    spiked = np.r_[even, 50.0]
    deviation = spiked.std()
    assert standing(spiked)[-1] == pytest.approx((50 - spiked.mean()) / deviation)
    assert flagged(spiked, 6) == 1
    assert flagged(spiked, float(standing(spiked)[-1])) == 0, "more than, not as many as"


def test_magnitudes_are_means_by_channel_token_and_position() -> None:
    subject = subject_of(hidden=1)
    (layer, top) = subject.layers
    found = outliers.magnitudes(subject)
    embedding, _ = arrays(subject)
    inputs = np.concatenate([embedding[batch.inputs.numpy()] for batch in subject.batches])
    np.testing.assert_allclose(found[layer].channels, np.abs(inputs).mean((0, 1)), rtol=1e-6)
    np.testing.assert_allclose(found[layer].tokens, np.abs(inputs).mean(2).ravel(), rtol=1e-6)
    np.testing.assert_allclose(found[layer].positions, np.abs(inputs).mean((0, 2)), rtol=1e-6)
    weight = subject.model.hidden[0].weight.detach().numpy()
    np.testing.assert_allclose(found[top].channels, np.abs(inputs @ weight.T).mean((0, 1)), rtol=1e-4)


def test_a_planted_channel_is_found_where_it_is() -> None:
    subject = subject_of(hidden=1)
    with torch.no_grad():
        subject.model.embedding.weight[:, 4] = 100
        subject.model.hidden[0].weight[:, 2] = 100
    found = outliers.measure(subject, AnalyzeRecipe(deviations=2.0))
    first = next(iter(subject.layers))
    got = values(found)
    assert (got[f"channels.{first}"], got[f"peak_channel.{first}"]) == (1, 4)
    assert got[f"weight_channels.{first}"] == 1
    assert got["channels"] == sum(got[f"channels.{layer}"] for layer in subject.layers)
    assert got["peak"] == pytest.approx(got[f"peak.{first}"])
    curve = [row["value"] for row in found.curves if row["name"] == f"activation_channels/{first}"]
    assert np.argmax(curve) == 4 and len(curve) == 6


def test_padding_counts_nowhere() -> None:
    kept = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    batch = batch_of(0, rows=2, kept=kept)
    subject = subject_of(batches=(batch,))
    embedding, _ = arrays(subject)
    inputs = embedding[batch.inputs[kept].numpy()]
    (found,) = outliers.magnitudes(subject).values()
    np.testing.assert_allclose(found.channels, np.abs(inputs).mean(0), rtol=1e-6)
    assert len(found.tokens) == 8
    assert len(found.positions) == 5
    assert values(gradient_histogram.measure(subject, RECIPE))["zeros"] == 0


@RECIPES
def test_gradient_shares_and_histogram(quantization: QuantizedTraining) -> None:
    subject = subject_of(quantization)
    found = gradient_histogram.measure(subject, AnalyzeRecipe(bins=8))
    got = values(found)
    gradients = [passes(*arrays(subject), batch, quantization)["g"] for batch in subject.batches]
    assert got["zeros"] == 0
    for name, bits, axis in (
        ("zero_codes_8_row", 8, "row"),
        ("zero_codes_8_tensor", 8, "tensor"),
        ("zero_codes_4_row", 4, "row"),
    ):
        rounded = [reference.quantize(g, bits, axis, True, 1e-9)[0] for g in gradients]
        assert got[name] == np.mean(np.concatenate(rounded) == 0)
    assert ("zero_codes" in got) == (quantization.gradients is not None)
    if quantization.gradients is not None:
        own = [reference.quantize(g, 4, quantization.gradients.axis, True, 1e-9)[0] for g in gradients]
        assert got["zero_codes"] == got["zero_codes.head"] == np.mean(np.concatenate(own) == 0)
    largest = np.abs(gradients[0]).max()
    assert got["range.head"] == pytest.approx(largest, rel=1e-5)
    expected, _ = np.histogram(gradients[0], bins=8, range=(-largest, largest))
    assert [row["value"] for row in found.curves] == expected.tolist()
    assert [row["step"] for row in found.curves] == list(range(8))


def test_counts_are_those_of_numpy() -> None:
    drawn = np.random.default_rng(0).normal(size=(40, 25))
    found = counts(torch.from_numpy(drawn), 2.0, 256)
    inside = np.clip(drawn, -2, np.nextafter(2, 0))
    expected, _ = np.histogram(inside, bins=256, range=(-2, 2))
    assert found == expected.tolist()
    assert counts(torch.zeros(3), 0.0, 4) == [0, 0, 0, 0]


@pytest.mark.parametrize("quantization", [W4, A4, FULL])
def test_output_error_of_a_layer_by_itself_and_within_the_model(quantization: QuantizedTraining) -> None:
    subject = subject_of(quantization, hidden=1)
    found = values(output_error.measure(subject, RECIPE))
    embedding, head = arrays(subject)
    hidden = subject.model.hidden[0].weight.detach().numpy().astype(np.float64)

    def rounded(x: Any, w: Any) -> Any:
        return reference.linear(x, w, np.zeros(len(w)), np.zeros((len(x), len(w))), quantization)["y"]

    def mse(one: Any, other: Any) -> float:
        return float(np.mean((one - other) ** 2))

    alone, together, shares = [], [], []
    for batch in subject.batches:
        x = embedding[batch.inputs.numpy().ravel()]
        y = x @ hidden.T
        alone.append((mse(rounded(x, hidden), y), mse(rounded(y, head), y @ head.T)))
        together.append(mse(rounded(rounded(x, hidden), head), y @ head.T))
        shares.append(together[-1] / np.mean((y @ head.T) ** 2))
    of_hidden, of_head = np.mean(alone, 0)
    assert found["mse.hidden.0"] == pytest.approx(of_hidden, rel=1e-3)
    assert found["mse.head"] == pytest.approx(of_head, rel=1e-3)
    assert found["mse"] == pytest.approx((of_hidden + of_head) / 2, rel=1e-3)
    assert found["propagated_mse.hidden.0"] == pytest.approx(found["mse.hidden.0"], rel=1e-5)
    assert found["propagated_mse.head"] == pytest.approx(np.mean(together), rel=1e-3)
    assert found["propagated_relative.head"] == pytest.approx(np.mean(shares), rel=1e-3)


@pytest.mark.parametrize("quantization", [W4, A4, G4, FULL])
def test_gradient_fidelity_compares_with_full_precision(quantization: QuantizedTraining) -> None:
    subject = subject_of(quantization)
    found = values(gradient_fidelity.measure(subject, RECIPE))
    each = []
    for batch in subject.batches:
        q = passes(*arrays(subject), batch, quantization)["dhead"]
        p = passes(*arrays(subject), batch, PLAIN)["dhead"]
        norms = np.linalg.norm(q), np.linalg.norm(p)
        each.append(
            (
                (q * p).sum() / norms[0] / norms[1],
                norms[0] / norms[1],
                np.abs(q - p).sum(),
                np.linalg.norm(q - p),
            )
        )
    names = ("cosine", "norm_ratio", "l1", "l2")
    expected = dict(zip(names, np.mean(each, 0), strict=True))
    assert {name: found[name] for name in names} == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert {name: found[f"{name}.head"] for name in names} == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_gradients_of_nothing() -> None:
    nothing, something = torch.zeros(3), torch.ones(3)
    compared = gradient_fidelity.compared
    assert compared(something, something) == pytest.approx({"cosine": 1, "norm_ratio": 1, "l1": 0, "l2": 0})
    assert compared(nothing, something)["cosine"] == compared(nothing, something)["norm_ratio"] == 0
    assert compared(nothing, nothing)["norm_ratio"] == 1
    assert compared(something, nothing)["norm_ratio"] == np.inf


def test_what_is_not_rounded_has_no_error() -> None:
    assert output_error.measure(subject_of(), RECIPE).rows == []
    assert output_error.measure(subject_of(G4), RECIPE).rows == []
    assert gradient_fidelity.measure(subject_of(), RECIPE).rows == []


def test_looking_changes_nothing() -> None:
    subject = subject_of(FULL)
    before = [weight.clone() for weight in subject.model.parameters()]
    for module in (outliers, gradient_histogram, output_error, gradient_fidelity):
        module.measure(subject, RECIPE)
    assert all(torch.equal(*pair) for pair in zip(subject.model.parameters(), before, strict=True))
    assert all(weight.grad is None for weight in subject.model.parameters())
    assert not any(module._forward_hooks for module in subject.model.modules())
    assert isinstance(subject.model, Bigram)


def test_stochastic_rounding_is_the_same_in_every_pass_of_a_mini_batch() -> None:
    drawn = QuantizedTraining(weights=Quantizer(bits=2, rounding="stochastic"))
    subject = subject_of(drawn)
    with torch.no_grad():
        losses = [float(subject.loss(batch)) for batch in (*subject.batches, *subject.batches)]
    assert losses[:2] == losses[2:]


def test_timed_steps_alternate_after_one_of_each() -> None:
    seen: list[str] = []

    def noted(name: str, seconds: float) -> Any:
        return lambda: seen.append(name) or seconds

    assert alternated(noted("a", 1.0), noted("b", 2.0), 2) == [(1.0, 2.0)] * 2
    assert seen == ["a", "b"] * 3
