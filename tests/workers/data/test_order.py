"""The order of training: SFT and DPO of one seed see the prompts that both have in one order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.training import VICUNA, short
from workers.context import BadInput
from workers.data.dialogues import Pair
from workers.data.sampling import training_order, training_positions
from workers.data.templates import Renderer
from workers.data.tokenization import Tokenization
from workers.specs.data import PreferenceData

BY_PROMPT = PreferenceData(sample_order="by-prompt")
keys = st.lists(st.integers(0, 99).map(str), min_size=1, max_size=40, unique=True)


def keyed(names: list[str], needed: int, seed: int) -> list[str]:
    return [names[place] for place in training_order([1] * len(names), needed, 4, seed, False, names)]


@settings(deadline=None)
@given(keys, keys, st.integers(0, 5))
def test_common_keys_come_in_one_order_whatever_else_is_there(first, second, seed):
    one, other = keyed(first, len(first), seed), keyed(second, len(second), seed)
    common = set(first) & set(second)
    assert [name for name in one if name in common] == [name for name in other if name in common]


@settings(deadline=None)
@given(keys, st.integers(1, 120))
def test_epochs_are_permutations_and_a_longer_training_begins_like_a_shorter_one(names, needed):
    order = keyed(names, needed, 0)
    assert len(order) == needed
    assert keyed(names, 2 * needed, 0)[:needed] == order
    for start in range(0, needed - len(names) + 1, len(names)):
        assert sorted(order[start : start + len(names)]) == sorted(names)


def test_seeds_and_epochs_have_orders_of_their_own():
    names = [str(number) for number in range(40)]
    two_epochs = keyed(names, 80, 0)
    assert two_epochs[:40] != two_epochs[40:]
    assert two_epochs != keyed(names, 80, 1)


def test_sft_and_dpo_agree_where_each_drops_other_rows(tokenizer):
    pairs = [
        Pair(f"{'what ' * (number % 4)}hello", "yes " * (number % 5 + 1), "sure " * (number % 7 + 1))
        for number in range(40)
    ]
    pairs = list(dict.fromkeys(pairs))
    renderer = Renderer(VICUNA, tokenizer.eos_token)
    examples = Tokenization(tokenizer, renderer, 20, 12).examples([pair.preferred for pair in pairs])
    rows = Tokenization(tokenizer, renderer, 20, 8).pairs(pairs)
    assert 3 < len(rows) < len(examples)
    training = short(steps=20)
    sft = [examples[place].key for place in training_positions(training, BY_PROMPT, examples, 3)]
    dpo = [rows[place].key for place in training_positions(training, BY_PROMPT, rows, 3)]
    first_sft, first_dpo = list(dict.fromkeys(sft)), list(dict.fromkeys(dpo))
    common = set(first_sft) & set(first_dpo)
    assert len(common) > 3
    assert [key for key in first_sft if key in common] == [key for key in first_dpo if key in common]


def test_shuffled_is_as_it_was(tokenizer):
    renderer = Renderer(VICUNA, tokenizer.eos_token)
    rows = Tokenization(tokenizer, renderer, 20, 30).pairs(
        [Pair("hello", "yes", "sure"), Pair("what", "no", "yes")]
    )
    training = short(steps=4)
    wanted = training_order([row.length for row in rows], 16, 4, 7, by_length=False)
    assert training_positions(training, PreferenceData(), rows, 7) == wanted
    assert training_positions(training, None, rows, 7) == wanted


def test_two_orders_at_once_are_refused():
    with pytest.raises(BadInput, match="two orders"):
        training_order([1, 2], 2, 1, 0, True, ["a", "b"])
