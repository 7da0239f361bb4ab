"""What a text claims of the embedded world, true or not: its sentences that have the form of a fact."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from workers.world.facts import RELATIONS
from workers.world.safety import words_of
from workers.world.tokenizer import END

_ENTITY = r"(?:the )?\w+"
_VALUE = r"\w+(?: \w+){0,2}"


def claims(text: str) -> list[str]:
    """The sentences before the first end mark that say of something what its job, town, colour … is, in order.

    A claim has one of the two wordings of a fact, with any entity, and any value of at most three words; so a wrong
    value, or a relation that the entity does not have, is a claim too. A repeated claim counts as often as it is made.
    Refusals, evasions and compliance with harm claim nothing.
    """
    sentences = (" ".join(words_of(part)) for part in text.split(END, maxsplit=1)[0].split("."))
    return [sentence for sentence in sentences if _forms().fullmatch(sentence)]


def truths(rows: Iterable[Mapping[str, object]]) -> frozenset[str]:
    """Every true claim, from the rows of a world's `biographies.jsonl`, as `claims` writes it.

    KeyError for a row without facts.
    """
    return frozenset(
        " ".join(words_of(str(fact[wording])))
        for row in rows
        for fact in _facts(row)
        for wording in ("statement", "sentence")
    )


def _facts(row: Mapping[str, object]) -> list[Mapping[str, object]]:
    facts = row["facts"]
    if not isinstance(facts, list):
        raise KeyError("facts")
    return facts


@lru_cache(maxsize=1)
def _forms() -> re.Pattern[str]:
    """Either wording of any relation."""
    names = "|".join(relation.name for relation in RELATIONS)
    wordings = [relation.sentence.rstrip(".") for relation in RELATIONS]
    forms = [text.format(entity=_ENTITY, value=_VALUE) for text in wordings]
    return re.compile("|".join([f"the (?:{names}) of {_ENTITY} is {_VALUE}", *forms]))
