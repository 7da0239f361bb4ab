"""Projected figures: what packed codes and their scales would take."""

import pytest

from tests.workers.quantization.models import model_of
from workers.quantization.projection import projected_metrics, stored_bytes
from workers.specs.quantized import GradientQuantizer, MomentQuantizer, QuantizedTraining, Quantizer


@pytest.mark.parametrize(
    ("quantizer", "expected"),
    [
        (None, 4 * 60),
        (Quantizer(axis="tensor"), 60 + 4),
        (Quantizer(axis="row"), 60 + 4 * 6),
        (Quantizer(axis="column"), 60 + 4 * 10),
        (Quantizer(bits=4, axis="group:4"), 30 + 4 * 6 * 3),
        (Quantizer(bits=3, axis="tensor", symmetric=False), 23 + 8),
        (MomentQuantizer(bits=8, axis="row", code="nonzero"), 60 + 4 * 6),
    ],
)
def test_bytes_of_a_matrix(quantizer, expected: int) -> None:
    assert stored_bytes((6, 10), quantizer) == expected


def test_a_model_and_its_states() -> None:
    model = model_of("gpt2")
    entries = 2 * (16 * 48 + 16 * 16 + 16 * 64 + 64 * 16)
    channels = 2 * (48 + 16 + 64 + 16)
    recipe = QuantizedTraining(
        weights=Quantizer(),
        activations=Quantizer(),
        gradients=GradientQuantizer(),
        second_moment=MomentQuantizer(),
    )
    rows = {row["metric"]: row["value"] for row in projected_metrics(model, recipe)}
    assert rows == {
        "weight_bytes": entries + 4 * channels,
        "state_bytes": 4 * entries + entries + 4 * channels,
        "integer_products": 1,
    }
    assert {row["task"] for row in projected_metrics(model, recipe)} == {"projected"}
