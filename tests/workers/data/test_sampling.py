from collections import Counter

import pytest
import torch

from tests.support.training import WORLD
from workers.context import BadInput
from workers.data.dialogues import Pair
from workers.data.sampling import draw_pairs, training_order
from workers.data.text import token_rows
from workers.specs.data import PreferenceData, TextData

PAIRS = [Pair(f"prompt {number}", "a", "b", (), "harmless") for number in range(100)]
MIXED = PAIRS[:20] + [Pair(f"other {number}", "a", "b", (), "helpful") for number in range(80)]


def test_a_fixed_subset_is_that_of_every_seed_and_file_order():
    data = PreferenceData(samples=30)
    drawn = draw_pairs(PAIRS, data, 0)
    assert len(drawn) == 30
    assert draw_pairs(PAIRS, data, 1) == drawn
    assert draw_pairs(PAIRS[::-1], data, 0) == drawn


def test_a_subset_per_seed_differs():
    data = PreferenceData(samples=30, sampling="per-seed")
    assert set(draw_pairs(PAIRS, data, 0)) != set(draw_pairs(PAIRS, data, 1))
    assert draw_pairs(PAIRS, data, 1) == draw_pairs(PAIRS, data, 1)


def test_all_rows_without_a_number():
    assert sorted(map(repr, draw_pairs(PAIRS, PreferenceData(), 0))) == sorted(map(repr, PAIRS))


@pytest.mark.parametrize(("samples", "each"), [(20, 10), (None, 20), (60, 20)])
def test_a_balanced_mixture_takes_half_of_each(samples, each):
    data = PreferenceData(preference="harmless+helpful", samples=samples)
    counts = Counter(pair.preference for pair in draw_pairs(MIXED, data, 0))
    assert counts == {"harmless": each, "helpful": each}


def test_a_natural_mixture_keeps_the_shares():
    data = PreferenceData(preference="harmless+helpful", mixture_ratio="natural")
    assert Counter(pair.preference for pair in draw_pairs(MIXED, data, 0)) == {"harmless": 20, "helpful": 80}


@pytest.mark.parametrize("by_length", [False, True])
def test_every_epoch_sees_every_row_once_in_an_order_of_its_own(by_length):
    lengths = [number % 13 + 1 for number in range(40)]
    order = training_order(lengths, 100, 4, 7, by_length)
    assert len(order) == 100
    assert sorted(order[:40]) == sorted(order[40:80]) == list(range(40))
    assert order[:40] != order[40:80]
    assert order == training_order(lengths, 100, 4, 7, by_length)
    assert order != training_order(lengths, 100, 4, 8, by_length)


def test_grouping_by_length_brings_like_lengths_together():
    lengths = [(number * 37) % 400 + 1 for number in range(400)]

    def spread(by_length: bool) -> float:
        order = training_order(lengths, 400, 8, 0, by_length)
        batches = [[lengths[place] for place in order[start : start + 8]] for start in range(0, 400, 8)]
        return sum(max(batch) - min(batch) for batch in batches) / len(batches)

    assert spread(True) < 0.3 * spread(False)


def test_blocks_hold_whole_documents_with_marks(context, tokenizer):
    blocks = token_rows(context, TextData(source=WORLD, block=32), tokenizer)
    assert {len(block) for block in blocks} == {32}
    flat = torch.stack(blocks).flatten().tolist()
    assert flat[0] == tokenizer.bos_token_id
    starts, ends = flat.count(tokenizer.bos_token_id), flat.count(tokenizer.eos_token_id)
    assert 0 <= starts - ends <= 1 or ends >= starts
    followed = [flat[place + 1] for place, token in enumerate(flat[:-1]) if token == tokenizer.eos_token_id]
    assert tokenizer.eos_token_id not in followed


def test_unpacked_documents_stay_apart(context, tokenizer):
    rows = token_rows(context, TextData(source=WORLD, block=16, packed=False), tokenizer)
    assert all(row[0] == tokenizer.bos_token_id for row in rows)
    assert max(len(row) for row in rows) == 16
    assert all(int((row == tokenizer.bos_token_id).sum()) == 1 for row in rows)


def test_too_little_text_is_an_error(context, tokenizer, tmp_path):
    (tmp_path / "train.jsonl").write_text('{"text": "hello."}\n')
    source = WORLD.model_copy(update={"world": None, "hub": str(tmp_path)})
    with pytest.raises(BadInput, match="do not fill one block"):
        token_rows(context, TextData(source=source), tokenizer)
