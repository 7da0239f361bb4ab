"""How much of an evaluation set stands in the training prompts: exact prompts, and shared n-grams of words.

Eight words are long enough that chance and common phrases seldom share them; the n-grams of the evaluation sets are
held in memory, the training prompts pass by once.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

LENGTH = 8
_WORD = re.compile(r"\w+")

Gram = tuple[str, ...]


@dataclass(frozen=True)
class Overlap:
    """What an evaluation set shares with training prompts.

    `items` are its texts, `exact` those that are a training prompt themselves, `touched` those with an n-gram in
    common; `gram_share` is the share of its distinct n-grams that occur in training, None where it has none.
    """

    items: int
    exact: int
    touched: int
    gram_share: float | None


def words(text: str) -> list[str]:
    """The words of a text without case and punctuation."""
    return _WORD.findall(text.casefold())


def grams(found: Sequence[str], length: int) -> Iterator[Gram]:
    """Every run of `length` words."""
    return (tuple(found[start : start + length]) for start in range(len(found) - length + 1))


def overlaps(
    prompts: Iterable[Sequence[str]], evaluations: Mapping[str, Sequence[str]], length: int = LENGTH
) -> dict[str, Overlap]:
    """What each of `evaluations` (texts by name) shares with the training prompts.

    A training prompt is its texts: the earlier turns of the user, and the prompt last. The last and the whole count
    as exact matches, every text for n-grams.
    """
    items = {name: [words(text) for text in texts] for name, texts in evaluations.items()}
    wanted = {gram for texts in items.values() for text in texts for gram in grams(text, length)}
    seen_grams: set[Gram] = set()
    seen_prompts: set[Gram] = set()
    for parts in prompts:
        split = [words(part) for part in parts]
        seen_prompts.update((tuple(split[-1]), tuple(word for part in split for word in part)))
        seen_grams.update(gram for part in split for gram in grams(part, length) if gram in wanted)
    return {name: _overlap(texts, seen_prompts, seen_grams, length) for name, texts in items.items()}


def _overlap(
    texts: Sequence[Sequence[str]], seen_prompts: set[Gram], seen_grams: set[Gram], length: int
) -> Overlap:
    own = {gram for text in texts for gram in grams(text, length)}
    return Overlap(
        items=len(texts),
        exact=sum(tuple(text) in seen_prompts for text in texts),
        touched=sum(any(gram in seen_grams for gram in grams(text, length)) for text in texts),
        gram_share=len(own & seen_grams) / len(own) if own else None,
    )
