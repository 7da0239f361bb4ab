"""FActScore: what an answer's facts come to, and the figures of all answers (Min et al., arXiv 2305.14251)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from results.records import MetricRow
from workers.context import metric
from workers.evaluation.benchmark import estimate_row
from workers.evaluation.statistics import clustered_mean, mean, ratio
from workers.judging.items import Item
from workers.specs.factuality import FactualityRecipe


@dataclass(frozen=True)
class Fact:
    """An atomic fact, and whether it is supported; None where the verdict could not be read."""

    text: str
    supported: bool | None


@dataclass(frozen=True)
class Checked:
    """An answer with its facts; None where their list could not be read. `known`: the source holds its topic."""

    item: Item
    facts: tuple[Fact, ...] | None
    known: bool = True

    def counted(self, rule: str) -> list[float]:
        """1 or 0 for every fact that counts under the recipe's rule for unreadable verdicts."""
        missing = [] if rule == "excluded" else [0.0]
        return [
            value
            for fact in self.facts or ()
            for value in (missing if fact.supported is None else [float(fact.supported)])
        ]

    def score(self, rule: str) -> float | None:
        """The share of its facts that is supported; None without facts."""
        values = self.counted(rule)
        return sum(values) / len(values) if values else None

    def verdict(self, rule: str) -> str:
        """`3 of 4`, `no facts`, `unparsed`, or `unknown topic`."""
        if not self.known:
            return "unknown topic"
        if self.facts is None:
            return "unparsed"
        values = self.counted(rule)
        return (
            f"{sum(values):.0f} of {len(values)}" if values else "no facts" if not self.facts else "unparsed"
        )


def length_penalty(facts: int, gamma: float) -> float:
    """What the score of an answer with so many facts is multiplied by: `exp(1 - gamma / n)` below gamma, else 1."""
    return 1.0 if facts >= gamma else math.exp(1.0 - gamma / facts)


def factuality_rows(found: Sequence[Checked], recipe: FactualityRecipe) -> list[MetricRow]:
    """FActScore (primary), with length penalty too, and what stands behind it.

    Of answers: the share that states facts (`responded`, of those whose list could be read), and facts in each of
    these. Of facts: the share that is supported, all answers pooled. Standard errors are clustered by topic.
    """
    name, rule = recipe.name, recipe.unparsed
    read = [one for one in found if one.known and one.facts is not None]
    scored = [(one, one.counted(rule)) for one in read if one.counted(rule)]
    topics = [one.item.prompt for one, _ in scored]
    scores = [sum(values) / len(values) for _, values in scored]
    penalised = [
        score * length_penalty(len(values), recipe.gamma)
        for score, (_, values) in zip(scores, scored, strict=True)
    ]
    sizes = [float(len(values)) for _, values in scored]
    supported = ratio([sum(values) for _, values in scored], sizes, topics)
    responded = mean([float(bool(one.facts)) for one in read])
    return [
        estimate_row(name, "factscore", clustered_mean(scores, topics), "share", primary=True),
        estimate_row(name, "factscore_length_penalized", clustered_mean(penalised, topics), "share"),
        estimate_row(name, "facts", clustered_mean(sizes, topics), "facts"),
        estimate_row(name, "responded", responded, "share"),
        estimate_row(name, "supported", supported, "share"),
        *_counts(name, found),
    ]


def _counts(name: str, found: Sequence[Checked]) -> list[MetricRow]:
    """How many facts were judged, and what could not be read or looked up."""
    facts = [fact for one in found for fact in one.facts or ()]
    unread = sum(fact.supported is None for fact in facts)
    unlisted = sum(one.known and one.facts is None for one in found)
    unknown = sum(not one.known for one in found)
    return [
        metric(name, len(facts) - unread, metric="judged", n=len(facts), unit="facts"),
        metric(name, unread, metric="unparsed_facts", n=len(facts), unit="facts"),
        metric(name, unlisted, metric="unparsed", n=len(found), unit="items"),
        metric(name, unknown, metric="unmatched", n=len(found), unit="items"),
    ]
