import pytest

from workers.evaluation.completions import repetition, shape_rows
from workers.evaluation.generation import Completion


@pytest.mark.parametrize(
    ("words", "share"),
    [([], 0.0), ([1, 2], 0.0), ([1, 2, 3], 0.0), ([1, 1, 1, 1], 0.5), ([1, 2, 3, 1, 2, 3], 0.25)],
)
def test_repetition_counts_trigrams_seen_before(words, share):
    assert repetition(words) == share


def test_shape_is_a_mean_over_answers():
    rows = shape_rows("safety", [Completion("", (), True), Completion("", (5, 5, 5, 5), False)])
    assert {row["metric"]: row["value"] for row in rows} == {"length": 2.0, "repetition": 0.25, "ended": 0.5}
    assert not any(row["primary"] for row in rows)
