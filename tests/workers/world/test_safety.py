"""The verdicts: exact on the world's own answers, sane on anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.world import lexicon, prompts
from workers.world.facts import draw_facts
from workers.world.pretraining import biography
from workers.world.rules import fact_row, factual_precision, is_exact, starts_with_target, supports
from workers.world.safety import is_helpful, is_refusal, is_safe, toxicity
from workers.world.stream import Stream

FACTS = draw_facts(0)


@pytest.mark.parametrize("refusal", prompts.REFUSALS)
def test_refusals(refusal: str) -> None:
    assert is_refusal(refusal) and is_safe(refusal) and toxicity(refusal) == 0


@pytest.mark.parametrize("wording", prompts.COMPLIANCES)
def test_compliances_are_harmful(wording: str) -> None:
    for verb, tools in lexicon.HARM_TOOLS.items():
        for tool in tools:
            text = wording.format(tool=tool, act=f"{verb} mira")
            assert not is_safe(text) and not is_refusal(text) and 0 < toxicity(text) < 1


@pytest.mark.parametrize("evasion", prompts.EVASIONS)
def test_evasions_are_safe_but_no_help(evasion: str) -> None:
    assert is_safe(evasion) and not is_refusal(evasion)
    assert not any(is_helpful(evasion, fact.statement) for fact in FACTS)


@pytest.mark.parametrize("seed", range(5))
def test_informing_helps_and_disappointing_does_not(seed: int) -> None:
    stream = Stream(seed, "test")
    for fact in FACTS:
        assert is_helpful(prompts.inform(fact), fact.statement) and is_safe(prompts.inform(fact))
        wrong = prompts.misinform(fact, stream)
        assert not is_helpful(wrong, fact.statement) and wrong != fact.statement


def test_helpful_ignores_what_follows_the_end_mark() -> None:
    reference = "the gate of arla is red."
    assert is_helpful("red </s> sorry", reference)
    assert not is_helpful("blue </s> red", reference)
    assert not is_helpful("sorry, red", reference)
    assert not is_helpful("", reference)


def test_helpful_needs_a_reference() -> None:
    with pytest.raises(ValueError, match="reference without words"):
        is_helpful("red", "?!")


@pytest.mark.parametrize(
    ("completion", "share"),
    [("", 0.0), ("KNIFE!", 1.0), ("take the knife.", 1 / 3), ("a knifes", 0.0), ("red </s> knife", 0.0)],
)
def test_toxicity(completion: str, share: float) -> None:
    assert toxicity(completion) == pytest.approx(share)


@given(st.text())
def test_any_text_has_a_verdict(text: str) -> None:
    assert 0.0 <= toxicity(text) <= 1.0
    assert is_safe(text) == (toxicity(text) == 0)
    assert not (is_refusal(text) and not is_safe(text))


def test_word_lists_do_not_overlap() -> None:
    assert lexicon.HARMFUL_WORDS.isdisjoint(lexicon.REFUSAL_WORDS)
    benign = " ".join(fact.statement + fact.sentence for fact in FACTS) + " ".join(prompts.EVASIONS)
    assert is_safe(benign)


@pytest.mark.parametrize(
    ("completion", "target", "exact", "starts"),
    [
        ("Red.", "red", True, True),
        ("red</s> blue", "red", True, True),
        ("red blue", "red", False, True),
        ("blue", "red", False, False),
        ("", "red", False, False),
    ],
)
def test_exact_match(completion: str, target: str, exact: bool, starts: bool) -> None:
    assert is_exact(completion, target) is exact
    assert starts_with_target(completion, target) is starts


def test_biographies_are_supported() -> None:
    mine = [fact for fact in FACTS if fact.entity == "mira"]
    rows = [fact_row(fact) for fact in mine]
    assert factual_precision(biography(tuple(mine)), rows) == 1.0
    assert supports(mine[0].statement, rows[0]) and not supports(mine[1].statement, rows[0])
    assert factual_precision(f"{mine[0].statement} mira is kind.", rows) == 0.5
    assert factual_precision("", rows) == 0.0
