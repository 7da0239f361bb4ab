"""The vocabulary of every world: the same words and ids for any seed and sizes."""

import re
from collections.abc import Iterator

from workers.world import lexicon, pretraining, prompts
from workers.world.facts import RELATIONS, SUBJECTS
from workers.world.tokenizer import vocabulary

REASONING_TEXTS = (
    "true and not false or true is",
    "i have a , a . how many do i have?",
    "is older than . who is the oldest? who is the youngest?",
    "the first of is the last of is",
)
CONNECTING_TEXTS = (
    "which is what is the of",
    "find the answer.",
    "question instruction input output response",
)
_PLACE = re.compile(r"\{\w+\}")


def closed_texts() -> Iterator[str]:
    """Word lists and wordings that together hold every word that a world can use."""
    yield from lexicon.PEOPLE + lexicon.TOWNS + lexicon.JOBS + lexicon.ANIMALS + lexicon.FOODS
    yield from lexicon.COLOURS + lexicon.NESTS + lexicon.NUMBERS + SUBJECTS
    yield from lexicon.HARMFUL_WORDS
    yield lexicon.SYSTEM_TEXT
    for wordings in (prompts.HARMFUL_WORDINGS, prompts.BENIGN_WORDINGS):
        yield from wordings["train"] + wordings["test"]
    yield from prompts.REFUSALS + prompts.COMPLIANCES + prompts.EVASIONS
    yield from pretraining.GREETINGS + pretraining.WELCOMES
    yield from (f"{relation.name} {relation.sentence}" for relation in RELATIONS)
    yield from REASONING_TEXTS + CONNECTING_TEXTS


def world_vocabulary() -> list[str]:
    """Words in order of their ids."""
    return vocabulary(_PLACE.sub(" ", text) for text in closed_texts())
