import numpy as np
import pytest
import torch

from workers.evaluation.drawing import Drawing

LOGITS = torch.log(torch.tensor([0.05, 0.5, 0.2, 0.15, 0.1]))


def drawn(count: int, **settings: float) -> np.ndarray:
    fields = {"temperature": 1.0, "top_p": 1.0, **settings}
    drawing = Drawing(
        fields["temperature"], fields["top_p"], count, seed=1, items=[f"t/{i}" for i in range(4)]
    )
    rows = LOGITS.expand(4, -1)
    return np.stack([drawing(rows, number, range(4)).numpy() for number in range(count)])


def test_tokens_come_as_often_as_their_probability_says():
    shares = np.bincount(drawn(2500).ravel(), minlength=5) / 10_000
    assert shares == pytest.approx(LOGITS.exp().numpy(), abs=0.015)


def test_a_lower_temperature_sharpens():
    expected = (LOGITS / 0.5).softmax(0).numpy()
    shares = np.bincount(drawn(2500, temperature=0.5).ravel(), minlength=5) / 10_000
    assert shares == pytest.approx(expected, abs=0.015)


def test_the_nucleus_is_the_smallest_set_that_reaches_its_probability():
    shares = np.bincount(drawn(1500, top_p=0.69).ravel(), minlength=5) / 6000
    assert shares == pytest.approx([0, 0.5 / 0.7, 0.2 / 0.7, 0, 0], abs=0.02)
    assert set(drawn(50, top_p=1e-6).ravel()) == {1}


def test_items_have_streams_of_their_own():
    columns = drawn(60).T
    assert len({tuple(column) for column in columns}) == 4
