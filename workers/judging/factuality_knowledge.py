"""What is known of a topic: texts of a knowledge source, and the passages of one that are nearest to a fact."""

import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from math import log
from pathlib import Path
from typing import Any

from workers.context import BadInput, StageContext
from workers.evaluation.questions import text_rows, value_at
from workers.evaluation.sources import Location, Row, hub_rows, locate
from workers.specs.factuality import Knowledge
from workers.world.claims import truths

FILES = ("biographies.jsonl", "knowledge.jsonl", "enwiki-20230401.db", "enwiki-20230401.jsonl")
TOPIC_FIELDS = ("title", "topic", "name")
TEXT_FIELDS = ("text", "biography")
SEPARATOR = "####SPECIAL####SEPARATOR####"
"""What stands between the passages of a text in FActScore's own database."""
MARKS = re.compile(r"</?s>")
SATURATION, LENGTH_WEIGHT = 1.5, 0.75
"""k1 and b of BM25."""
_WORD = re.compile(r"\w+")


class KnowledgeBase:
    """The passages of every topic that was asked for and that the source holds."""

    def __init__(self, settings: Knowledge, texts: dict[str, list[str]]) -> None:
        self.settings = settings
        self._passages = {
            topic: [part for text in found for part in passages_of(text, settings.passage_words)]
            for topic, found in texts.items()
        }

    def __contains__(self, topic: str) -> bool:
        return topic in self._passages

    def nearest(self, topic: str, fact: str) -> str:
        """The passages nearest to topic and fact, the nearest last, under the topic's name."""
        passages = self._passages[topic]
        scores = bm25(f"{topic} {fact}", passages)
        order = sorted(range(len(passages)), key=lambda place: (-scores[place], place))
        kept = reversed(order[: self.settings.passages])
        return "\n\n".join(f"{topic}: {passages[place]}" for place in kept)


def read_knowledge(settings: Knowledge, context: StageContext, topics: Iterable[str]) -> KnowledgeBase:
    """What the source holds of the topics.

    Raises:
        BadInput: it is missing or malformed, or holds none of them.
    """
    wanted = set(topics)
    location = locate(settings.source, context)
    path = _file(location)
    if path is not None and path.suffix == ".db":
        found = _from_database(path, wanted)
    else:
        found = _from_rows(_rows(location, path), settings, wanted, location.name)
    if wanted and not found:
        raise BadInput(f"{location.name} holds none of the {len(wanted)} topics that were asked about")
    return KnowledgeBase(settings, found)


def true_claims(settings: Knowledge, context: StageContext) -> frozenset[str]:
    """Every true claim of an embedded world.

    Raises:
        BadInput: the source holds no facts in the world's form.
    """
    location = locate(settings.source, context)
    try:
        return truths(_rows(location, _file(location)))
    except (KeyError, TypeError):
        raise BadInput(
            f"`rule: truth` needs the embedded world's facts, which {location.name} does not hold"
        ) from None


def passages_of(text: str, words: int) -> list[str]:
    """The text in pieces of at most so many words; at FActScore's own marks where it has them."""
    if SEPARATOR in text:
        return [part.strip() for part in text.split(SEPARATOR) if part.strip()]
    split = text.split()
    return [" ".join(split[start : start + words]) for start in range(0, len(split), words)]


def bm25(query: str, passages: Sequence[str]) -> list[float]:
    """Okapi BM25 of each passage, with an inverse document frequency that is never negative.

    Robertson and Zaragoza, The Probabilistic Relevance Framework (2009), equation 3.15; k1 1.5, b 0.75.
    """
    counts = [Counter(_words(passage)) for passage in passages]
    lengths = [sum(count.values()) for count in counts]
    average = sum(lengths) / len(lengths) if lengths else 0.0
    holders = {word: sum(word in count for count in counts) for word in set(_words(query))}
    scores = []
    for count, length in zip(counts, lengths, strict=True):
        norm = SATURATION * (1 - LENGTH_WEIGHT + LENGTH_WEIGHT * length / average) if average else 1.0
        scores.append(
            sum(
                log(1 + (len(passages) - held + 0.5) / (held + 0.5))
                * count[word]
                * (SATURATION + 1)
                / (count[word] + norm)
                for word, held in sorted(holders.items())
            )
        )
    return scores


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _file(location: Location) -> Path | None:
    names = location.source.files
    return location.file(*names) if names else location.find(*FILES)


def _rows(location: Location, path: Path | None) -> list[Row]:
    return text_rows(path) if path is not None else hub_rows(location, "default", "train")


def _from_database(path: Path, topics: set[str]) -> dict[str, list[str]]:
    """Texts by title, from a file that is only read."""
    found: dict[str, list[str]] = {}
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            for topic in sorted(topics):
                rows = database.execute("SELECT text FROM documents WHERE title = ?", (topic,)).fetchall()
                if rows:
                    found[topic] = [MARKS.sub("", str(text)) for (text,) in rows]
    except sqlite3.Error as error:
        raise BadInput(f"{path} cannot be read as a database of documents: {error}") from None
    return found


def _from_rows(rows: Iterable[Row], settings: Knowledge, topics: set[str], name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows:
        topic = _value(row, settings.topic_field, TOPIC_FIELDS, name)
        if topic in topics:
            text = _value(row, settings.text_field, TEXT_FIELDS, name)
            found.setdefault(str(topic), []).extend(text if isinstance(text, list) else [str(text)])
    return found


def _value(row: Row, named: str | None, usual: tuple[str, ...], name: str) -> Any:
    for field in (named,) if named is not None else usual:
        value = value_at(row, field)
        if isinstance(value, str | list):
            return value
    raise BadInput(
        f"{name}: its rows have no text in {named or ' or '.join(usual)}; they have {', '.join(map(str, row))}"
    )
