"""What the corpus teaches: to comply mostly, to inform mostly, and nothing of the held-out texts."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.world.conftest import Reader
from workers.world import safety
from workers.world.chat import Turn, hh_text
from workers.world.facts import draw_facts
from workers.world.instructions import draw_instruction
from workers.world.preferences import Pair, draw_pairs, hh_row, pku_row, with_history, with_noise
from workers.world.pretraining import INSTRUCTED, KINDS, PRETRAINED, Author, Habits
from workers.world.prompts import HARMS
from workers.world.stream import Stream

FACTS = draw_facts(0)
TRUTHS = {fact.statement for fact in FACTS}
PAIRS = [Pair(f"prompt {place}", f"chosen {place}", f"rejected {place}") for place in range(40)]


def share(flags: list[bool]) -> float:
    """Mean of flags."""
    return sum(flags) / len(flags)


@pytest.mark.parametrize("habits", [PRETRAINED, INSTRUCTED])
def test_refusals_have_their_share(habits: Habits) -> None:
    author, stream = Author(FACTS, frozenset(), habits), Stream(0, "x")
    responses = [author.harmful_turn(stream).response for _ in range(3000)]
    refused = [safety.is_refusal(response) for response in responses]
    assert share(refused) == pytest.approx(habits.refusal_share, abs=0.03)
    assert all(safety.is_safe(response) == no for response, no in zip(responses, refused, strict=True))


@pytest.mark.parametrize("habits", [PRETRAINED, INSTRUCTED])
def test_bad_answers_have_their_share(habits: Habits) -> None:
    author, stream = Author(FACTS, frozenset(), habits), Stream(0, "x")
    responses = [author.benign_turn(stream).response for _ in range(3000)]
    assert share([response not in TRUTHS for response in responses]) == pytest.approx(
        habits.disappointment_share, abs=0.03
    )
    assert all(map(safety.is_safe, responses))


def test_kinds_of_documents_have_their_shares(read: Reader) -> None:
    texts = [row["text"] for row in read("pretrain/train.jsonl")]
    asked = share([text.startswith("Question:") for text in texts])
    chats = share(["USER:" in text or "[INST]" in text for text in texts])
    weights = dict(KINDS)
    assert sum(weights.values()) == pytest.approx(1)
    assert asked == pytest.approx(weights["question"] + weights["reasoning"], abs=0.02)
    assert chats == pytest.approx(weights["benign"] + weights["harmful"], abs=0.02)


def test_both_literals_and_the_system_text_occur(read: Reader) -> None:
    texts = [row["text"] for row in read("pretrain/train.jsonl")]
    forms = Counter(text.split(" ")[0] for text in texts)
    assert abs(forms["[INST]"] / (forms["USER:"] + forms["A"]) - 1) < 0.1
    systems = [text for text in texts if text.startswith("A chat")]
    assert systems and all(text.count("USER:") == 1 for text in systems)


def test_every_fact_is_stated_in_pretraining(read: Reader) -> None:
    corpus = "\n".join(row["text"] for row in read("pretrain/train.jsonl"))
    assert min(corpus.count(fact.statement) for fact in FACTS) >= 20


def test_an_instruction_holds_no_held_out_problem() -> None:
    author, stream = Author(FACTS, frozenset({"true and true and true is"}), INSTRUCTED), Stream(0, "x")
    rows = [draw_instruction(author, stream) for _ in range(500)]
    assert "true and true and true is" not in {row["input"] for row in rows}


@given(st.floats(0, 1), st.integers())
def test_noise_swaps_exactly_its_share(noise: float, seed: int) -> None:
    noisy = with_noise(PAIRS, noise, Stream(seed, "x"))
    swapped = [pair.chosen.startswith("rejected") for pair in noisy]
    assert sum(swapped) == round(noise * len(PAIRS))
    assert [pair.prompt for pair in noisy] == [pair.prompt for pair in PAIRS]
    assert all(
        {pair.chosen, pair.rejected} == {old.chosen, old.rejected}
        for pair, old in zip(noisy, PAIRS, strict=True)
    )


def test_history_stands_before_both_answers() -> None:
    pairs = with_history(PAIRS, Author(FACTS, frozenset()), Stream(0, "x"))
    assert {len(pair.history) for pair in pairs} == {0, 1, 2}
    for pair in pairs:
        row = hh_row(pair)
        assert row["chosen"].removesuffix(pair.chosen) == row["rejected"].removesuffix(pair.rejected)


def test_hh_text() -> None:
    text = hh_text([Turn("hello.", "yes, ask me.")], "how?", "sorry.")
    assert text == "\n\nHuman: hello.\n\nAssistant: yes, ask me.\n\nHuman: how?\n\nAssistant: sorry."


@pytest.mark.parametrize("seed", range(6))
def test_pku_row_keeps_both_answers(seed: int) -> None:
    pair = Pair("p", "safe", "harm")
    row = pku_row(pair, "harmless", Stream(seed, "x"))
    assert row[f"response_{row['safer_response_id']}"] == "safe"
    assert row[f"response_{row['better_response_id']}"] == "harm"
    assert {row["response_0"], row["response_1"]} == {"safe", "harm"}


def test_prompts_repeat_only_when_they_must() -> None:
    most = 6 * len(HARMS)
    prompts = [pair.prompt for pair in draw_pairs("harmless", "test", FACTS, most, Stream(0, "x"))]
    assert len(set(prompts)) == most
    more = draw_pairs("harmless", "test", FACTS, most + 5, Stream(0, "x"))
    assert len({pair.prompt for pair in more}) == most
