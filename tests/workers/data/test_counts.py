"""Known counts: the wrong version of a data set is an error that says how to go on."""

import json
import lzma
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.training import WORLD
from workers.context import BadInput
from workers.data.counts import Count, drop_text
from workers.data.preferences import load_pairs, usable_pairs
from workers.specs.data import DataSource, ExpectedPairs, PreferenceData


def row(number: int, **others) -> dict:
    return {
        "prompt": f"prompt {number}",
        "response_0": "a",
        "response_1": "b",
        "is_response_0_safe": True,
        "is_response_1_safe": number % 2 == 0,
        "better_response_id": 1,
    } | others


@pytest.fixture
def source(tmp_path) -> DataSource:
    """Forty rows in the layout of before June 2024: half have one safe answer, one lacks an answer."""
    rows = [row(number) for number in range(39)] + [row(39, response_1=" ")]
    folder = tmp_path / "round0"
    folder.mkdir()
    for split in ("train", "test"):
        text = "".join(json.dumps(each) + "\n" for each in rows)
        (folder / f"{split}.jsonl.xz").write_bytes(lzma.compress(text.encode()))
    return DataSource(hub=str(tmp_path), revision="v0")


def expecting(source: DataSource, preference: str = "helpful", **expected) -> PreferenceData:
    return PreferenceData(
        dataset="beavertails",
        preference=preference,
        source=source,
        expected_pairs=ExpectedPairs(**expected) if expected else None,
    )


def test_the_published_count_is_met(context, source):
    assert len(load_pairs(context, expecting(source, helpful=39), "train").pairs) == 39
    assert len(load_pairs(context, expecting(source, "harmless", harmless=19), "train").pairs) == 19


def test_a_mismatch_names_both_counts_every_drop_reason_and_how_to_go_on(context, source):
    with pytest.raises(BadInput) as error:
        load_pairs(context, expecting(source, "harmless", harmless=46625), "train")
    said = str(error.value)
    for part in ("19 usable", "46,625", "20 not exactly one safe", "1 empty", "revision v0", "--set"):
        assert part in said


@pytest.mark.parametrize(
    ("expected", "tolerance", "fits"), [(40, 0.03, True), (40, 0.02, False), (38, 0.03, True)]
)
def test_the_tolerance_is_a_share_of_what_is_expected(context, source, expected, tolerance, fits):
    data = expecting(source, helpful=expected, tolerance=tolerance)
    if fits:
        assert load_pairs(context, data, "train").pairs
    else:
        with pytest.raises(BadInput, match="39 usable"):
            load_pairs(context, data, "train")


def test_what_is_held_out_for_validation_still_counts(context, source):
    data = expecting(source, helpful=39).model_copy(update={"validation": 0.5})
    assert 0 < len(load_pairs(context, data, "train").pairs) < 39


def test_a_mixture_expects_both_counts(context, source):
    data = expecting(source, "harmless+helpful", helpful=39, harmless=19)
    assert load_pairs(context, data, "train").pairs
    with pytest.raises(BadInput, match="harmless"):
        load_pairs(context, expecting(source, "harmless+helpful", helpful=39, harmless=20), "train")


def test_nothing_is_compared_for_the_world_the_test_split_or_without_an_expectation(context, source):
    world = PreferenceData(dataset="beavertails", source=WORLD, expected_pairs=ExpectedPairs(harmless=1))
    assert load_pairs(context, world, "train").pairs
    assert load_pairs(context, expecting(source, helpful=7), "test").pairs
    assert load_pairs(context, expecting(source), "train").pairs


def test_usable_pairs_are_counted_whatever_is_expected(context, source):
    found, kept = usable_pairs(context, expecting(source, helpful=7), "helpful", "train")
    assert (found.read, len(found.pairs), kept) == (40, 39, 39)


def test_one_file_for_all_is_divided(context, source):
    (Path(source.hub) / "round0" / "test.jsonl.xz").unlink()
    kept = [usable_pairs(context, expecting(source), "helpful", split)[1] for split in ("train", "test")]
    assert sum(kept) == 39 and min(kept) > 0


@given(st.integers(0, 10_000), st.integers(1, 10_000), st.floats(0, 0.5))
def test_a_count_holds_exactly_within_its_tolerance(found, expected, tolerance):
    count = Count(found, expected, tolerance)
    assert count.holds == (abs(found - expected) <= tolerance * expected)
    assert Count(found, None).holds


def test_drops_are_told_the_most_frequent_first():
    assert drop_text(Counter(empty=2, equal=1_500, malformed=0)) == "1,500 equal, 2 empty"
    assert drop_text({}) == "none"
