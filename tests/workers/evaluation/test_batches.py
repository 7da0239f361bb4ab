from hypothesis import given
from hypothesis import strategies as st

from workers.evaluation.batches import batched, left_padded, longest_first, right_padded

ROWS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=8)


@given(ROWS, st.randoms())
def test_order_depends_on_content_alone(rows, random):
    shuffled = random.sample(rows, len(rows))
    ordered = [rows[place] for place in longest_first(rows)]
    assert ordered == [shuffled[place] for place in longest_first(shuffled)]
    assert [len(row) for row in ordered] == sorted(map(len, rows), reverse=True)


@given(ROWS)
def test_padding_keeps_the_rows(rows):
    right = right_padded(rows)
    left, mask = left_padded(rows)
    for place, row in enumerate(rows):
        assert right[place, : len(row)].tolist() == row
        assert right[place, len(row) :].tolist() == [0] * (right.shape[1] - len(row))
        assert left[place][mask[place] == 1].tolist() == row
        assert mask[place].tolist() == sorted(mask[place].tolist())


def test_batches_are_consecutive():
    assert [list(part) for part in batched(range(5), 2)] == [[0, 1], [2, 3], [4]]
    assert list(batched([], 2)) == []
