"""How far a judge agrees with given verdicts: accuracy, Cohen's kappa, and what the order of a pair does."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from workers.evaluation.answers import Answers
from workers.judging.judge import Judge, Opinion, Question
from workers.judging.labels import Labelled

CONFIDENCE = 0.95
OUTCOMES = {"first": 1.0, "tie": 0.5, "second": 0.0}
TURNED = {"first": "second", "second": "first"}


@dataclass(frozen=True)
class Share:
    """A share of n items with its 95 % interval: Wilson's (1927) for counted items; None where n is 0."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, hits: int, n: int) -> "Share":
        """`hits` of `n`."""
        if n == 0:
            return cls(None, None, None, 0)
        interval = stats.binomtest(hits, n).proportion_ci(CONFIDENCE, method="wilson")
        return cls(hits / n, float(interval.low), float(interval.high), n)


@dataclass(frozen=True)
class Agreement:
    """A judge against labels.

    `accuracy` and `kappa` are over the items whose every verdict could be read; a pair that was judged in both orders
    counts as a tie when they contradict each other. `by_order` is the accuracy of single verdicts with the file's
    first output shown first, and second. `position_bias` is the share of pairs whose verdict turns round with the
    order, `first_position` that of decided verdicts for the output that is shown first. `unparsed` counts items.
    """

    items: int
    unparsed: int
    accuracy: Share
    kappa: Share
    by_order: dict[str, Share]
    position_bias: Share | None
    first_position: Share | None

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def agreement(
    labels: Sequence[Labelled], judge: Judge, both: bool, answers: Answers | None = None
) -> Agreement:
    """Ask the judge about every labelled item, pairs in both orders or as they are, and compare.

    Equal answers are a tie and nobody is asked, as in a judge stage.

    Raises:
        BadInput: the judge cannot work at all.
        TransientFailure: a service does not answer.
    """
    pairs = len(labels[0].outputs) == 2
    shown = (False, True) if pairs and both else (False,)
    questions = [
        Question(item.prompt, item.outputs[::-1] if turned else item.outputs)
        for item in labels
        if not item.equal
        for turned in shown
    ]
    said = iter(judge.opinions(questions, answers or Answers()))
    choices = [
        ["tie" if item.equal else _as_given(next(said), turned) for turned in shown] for item in labels
    ]
    return compare(labels, choices)


def compare(labels: Sequence[Labelled], choices: Sequence[Sequence[str | None]]) -> Agreement:
    """Given labels against choices in terms of the labels' own order: one for each order of an item."""
    final = [_final(each) for each in choices]
    known = [(item.label, choice) for item, choice in zip(labels, final, strict=True) if choice is not None]
    hits = sum(label == choice for label, choice in known)
    orders = {}
    for place in range(len(choices[0])):
        read = [
            (item.label, each[place])
            for item, each in zip(labels, choices, strict=True)
            if each[place] is not None
        ]
        name = ("as_given", "swapped")[place]
        orders[name] = Share.of(sum(label == choice for label, choice in read), len(read))
    pairs = len(labels[0].outputs) == 2
    both = len(choices[0]) == 2
    return Agreement(
        items=len(labels),
        unparsed=len(labels) - len(known),
        accuracy=Share.of(hits, len(known)),
        kappa=cohens_kappa(known),
        by_order=orders,
        position_bias=_flips(choices) if both else None,
        first_position=_firsts(choices) if pairs else None,
    )


def cohens_kappa(pairs: Sequence[tuple[str, str]]) -> Share:
    """Agreement beyond chance, `(p_o - p_e) / (1 - p_e)` (Cohen 1960).

    The interval is from his large-sample error, `sqrt(p_o (1 - p_o) / n) / (1 - p_e)`. None where both sides give one
    and the same label throughout, so that chance agrees too.
    """
    names = sorted({name for pair in pairs for name in pair})
    table = np.zeros((len(names), len(names)))
    for one, other in pairs:
        table[names.index(one), names.index(other)] += 1
    n = len(pairs)
    expected = float(table.sum(0) @ table.sum(1)) / n**2 if n else 1.0
    if expected == 1.0:
        return Share(None, None, None, n)
    observed = float(np.trace(table)) / n
    value = (observed - expected) / (1 - expected)
    half = (
        float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * (observed * (1 - observed) / n) ** 0.5 / (1 - expected)
    )
    return Share(value, value - half, min(1.0, value + half), n)


def _as_given(opinion: Opinion, turned: bool) -> str | None:
    """A choice in terms of the order of the file."""
    return TURNED.get(opinion.choice or "", opinion.choice) if turned else opinion.choice


def _final(choices: Sequence[str | None]) -> str | None:
    """What an item's verdicts come to; None when one of them could not be read."""
    if any(choice is None for choice in choices):
        return None
    if len(set(choices)) == 1:
        return choices[0]
    mean = sum(OUTCOMES[choice or ""] for choice in choices) / len(choices)
    return "tie" if mean == 0.5 else "first" if mean > 0.5 else "second"


def _flips(choices: Sequence[Sequence[str | None]]) -> Share:
    read = [each for each in choices if None not in each]
    return Share.of(sum(set(each) == {"first", "second"} for each in read), len(read))


def _firsts(choices: Sequence[Sequence[str | None]]) -> Share:
    """How many decided verdicts are for what was shown first; in the second order that is the file's second."""
    decided = [
        choice == ("first", "second")[place]
        for each in choices
        for place, choice in enumerate(each)
        if choice in TURNED
    ]
    return Share.of(sum(decided), len(decided))
