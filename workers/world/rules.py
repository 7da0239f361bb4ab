"""Exact rules for answers: reasoning by exact match, biographies by their checkable facts."""

from collections.abc import Sequence

from workers.world.facts import Fact
from workers.world.safety import words_of


def is_exact(completion: str, target: str) -> bool:
    """Whether the words of both are equal; case, punctuation and what follows the end mark do not count."""
    return words_of(completion) == words_of(target)


def starts_with_target(completion: str, target: str) -> bool:
    """Whether the completion's first words are the target's."""
    wanted = words_of(target)
    return bool(wanted) and words_of(completion)[: len(wanted)] == wanted


def fact_row(fact: Fact) -> dict[str, str]:
    """A checkable fact of biographies.jsonl: relation, value, and both wordings that state it."""
    return {
        "relation": fact.relation.name,
        "value": fact.value,
        "statement": fact.statement,
        "sentence": fact.sentence,
    }


def supports(text: str, fact: dict[str, str]) -> bool:
    """Whether a text states a row of `fact_row` in either wording."""
    words = " ".join(words_of(text))
    wordings = (" ".join(words_of(fact[wording])) for wording in ("statement", "sentence"))
    return any(f" {wording} " in f" {words} " for wording in wordings)


def factual_precision(text: str, facts: Sequence[dict[str, str]]) -> float:
    """Stated facts divided by the text's sentences, at most 1; 0 for a text without sentences."""
    sentences = [sentence for sentence in text.split(".") if words_of(sentence)]
    stated = sum(supports(text, fact) for fact in facts)
    return min(1.0, stated / len(sentences)) if sentences else 0.0
