"""Overlap of training and evaluation: exact prompts and n-grams of words, counted."""

from hypothesis import given
from hypothesis import strategies as st

from workers.data.overlap import Overlap, overlaps

TRAINING = [("Hello!", "what is the name of the tallest dog in town"), ("Who are you?",)]


def test_prompts_match_without_case_and_punctuation():
    found = overlaps(
        TRAINING, {"a": ["who are you", "Who?"], "b": ["HELLO what is the name of the tallest dog in town"]}
    )
    assert found["a"] == Overlap(items=2, exact=1, touched=0, gram_share=None)
    assert found["b"].exact == 1


def test_shared_n_grams_are_counted_by_item_and_by_gram():
    items = ["say: what is the name of the tallest dog", "nothing of what stands there is in here at all"]
    found = overlaps(TRAINING, {"a": items}, length=8)["a"]
    assert (found.items, found.exact, found.touched) == (2, 0, 1)
    assert found.gram_share == 1 / (2 + 3)


def test_shorter_grams_find_more():
    shares = [
        overlaps(TRAINING, {"a": ["the tallest dog is not in town"]}, length)["a"].gram_share
        for length in (1, 3, 8)
    ]
    assert shares == [6 / 7, 1 / 5, None]


def test_earlier_turns_count_for_n_grams():
    assert overlaps([("one two three", "x")], {"a": ["one two three"]}, 3)["a"].touched == 1


@given(st.lists(st.text("abc ", max_size=20), max_size=8), st.integers(1, 4))
def test_a_set_overlaps_with_itself_completely(texts, length):
    found = overlaps([(text,) for text in texts], {"same": texts}, length)["same"]
    assert found.exact == found.items == len(texts)
    assert found.gram_share in (None, 1.0)
