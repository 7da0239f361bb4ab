"""Which of two answers is better: orders, outcomes, win rate and position bias."""

from collections.abc import Sequence
from dataclasses import dataclass

from results.records import MetricRow
from workers.context import metric
from workers.evaluation.benchmark import estimate_row
from workers.evaluation.statistics import Estimate, clustered_mean
from workers.identity import derive_seed
from workers.judging.items import Item
from workers.judging.judge import Opinion, Question
from workers.judging.length import length_controlled
from workers.specs.judge import JudgeRecipe

PUBLISHED = {
    "legacy": {"ties": "loss", "unparsed": "excluded"},
    "alpaca_eval": {"ties": "half", "unparsed": "excluded"},
}
"""The rules of published win rates. Both show a pair in one order; where `orders` shows both, an item that contradicts
itself counts one half, the mean of a win and a loss, in either.
"""
OUTCOMES = {"first": 1.0, "second": 0.0, "tie": 0.5}
"""What a choice is worth to the output that is shown first."""


@dataclass(frozen=True)
class Showing:
    """An item in one order: whether the judged answer is shown first, and what it came to (None: unparsed)."""

    first: bool
    outcome: float | None


@dataclass(frozen=True)
class Compared:
    """An item with its showings; `same` tells that both answers are equal, so that nobody was asked."""

    item: Item
    showings: tuple[Showing, ...]
    same: bool

    @property
    def parsed(self) -> bool:
        """Whether every showing has a verdict."""
        return all(showing.outcome is not None for showing in self.showings)

    @property
    def verdict(self) -> str:
        """`win`, `loss`, `tie`; `flip` when the orders contradict each other; `unparsed`."""
        outcomes = [showing.outcome for showing in self.showings]
        known = [outcome for outcome in outcomes if outcome is not None]
        if len(known) < len(outcomes):
            return "unparsed"
        mean = sum(known) / len(known)
        if mean == 0.5:
            return "flip" if 1.0 in known else "tie"
        return "win" if mean > 0.5 else "loss"

    def value(self, recipe: JudgeRecipe) -> float | None:
        """What the item counts under the recipe's rules for ties and unparsable verdicts; None: left out."""
        values = [_counted(showing.outcome, recipe) for showing in self.showings]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if len(known) == len(values) else None


def _counted(outcome: float | None, recipe: JudgeRecipe) -> float | None:
    if outcome is None:
        return {"excluded": None, "half": 0.5, "loss": 0.0}[recipe.unparsed]
    return 0.0 if outcome == 0.5 and recipe.ties == "loss" else outcome


def orders_of(item: Item, recipe: JudgeRecipe) -> tuple[bool, ...]:
    """Whether the judged answer is shown first, for each showing.

    A drawn order depends on seed and prompt alone, so it is the same for every model and on every machine.
    """
    match recipe.orders:
        case "given":
            return (True,)
        case "swapped":
            return (False,)
        case "drawn":
            return (derive_seed(recipe.seed, f"order/{item.prompt}") % 2 == 0,)
    return (True, False)


def questions_of(items: Sequence[Item], recipe: JudgeRecipe) -> list[Question]:
    """The questions for a judge: every showing of every item whose two answers differ."""
    return [
        _question(item, first)
        for item in items
        if item.answer != item.reference
        for first in orders_of(item, recipe)
    ]


def _question(item: Item, first: bool) -> Question:
    pair = (item.answer, item.reference or "")
    return Question(item.prompt, pair if first else pair[::-1], item.truth)


def compared(items: Sequence[Item], opinions: Sequence[Opinion], recipe: JudgeRecipe) -> list[Compared]:
    """Each item with the opinions on it, which come in the order of `questions_of`."""
    said = iter(opinions)
    found = []
    for item in items:
        same = item.answer == item.reference
        orders = orders_of(item, recipe)
        outcomes = [0.5 if same else _outcome(next(said), first) for first in orders]
        found.append(Compared(item, tuple(map(Showing, orders, outcomes)), same))
    return found


def _outcome(opinion: Opinion, first: bool) -> float | None:
    outcome = OUTCOMES.get(opinion.choice or "")
    return outcome if outcome is None or first else 1.0 - outcome


def rows_of(name: str, found: Sequence[Compared], recipe: JudgeRecipe) -> list[MetricRow]:
    """Win rate (primary), at equal lengths too, its counts, the rate in each order, two measures of position bias.

    `position_bias` is the share of items whose verdict turns round with the order; `first_position` the share of
    decided verdicts that favour the answer shown first (0.5: none). Equal answers, which nobody compared, count in
    neither. Standard errors are clustered by prompt.
    """
    counts = {verdict: 0 for verdict in ("win", "loss", "tie", "flip", "unparsed")}
    for each in found:
        counts[each.verdict] += 1
    names = {"win": "wins", "loss": "losses", "tie": "ties", "flip": "flips", "unparsed": "unparsed"}
    showings = [showing for each in found for showing in each.showings]
    rows = [
        estimate_row(name, "win_rate", win_rate(found, recipe), "share", primary=True),
        *(
            estimate_row(name, f"win_rate_{rule}", win_rate(found, _by_rule(recipe, rule)), "share")
            for rule in recipe.win_rates
        ),
        estimate_row(name, "win_rate_length_controlled", _length_controlled(found, recipe), "share"),
        *(metric(name, counts[key], metric=names[key], n=len(found), unit="items") for key in counts),
        metric(name, sum(each.same for each in found), metric="equal", n=len(found), unit="items"),
        metric(
            name,
            sum(showing.outcome is None for showing in showings),
            metric="unparsed_verdicts",
            n=len(showings),
            unit="verdicts",
        ),
    ]
    rows.append(metric(name, rows[0]["n"], metric="judged", n=len(found), unit="items"))
    return [*rows, *_bias_rows(name, found, recipe)]


def win_rate(found: Sequence[Compared], recipe: JudgeRecipe) -> Estimate:
    """The mean of what the items count."""
    values = [(each.value(recipe), each.item.prompt) for each in found]
    return _mean([(value, prompt) for value, prompt in values if value is not None])


def _by_rule(recipe: JudgeRecipe, rule: str) -> JudgeRecipe:
    return recipe.model_copy(update=PUBLISHED[rule])


def _length_controlled(found: Sequence[Compared], recipe: JudgeRecipe) -> Estimate:
    """The win rate at equal lengths of both answers."""
    counted = [(each.value(recipe), each.item) for each in found]
    known = [(value, item) for value, item in counted if value is not None]
    differences = [float(len(item.answer) - len(item.reference or "")) for _, item in known]
    return length_controlled([value for value, _ in known], differences, [item.prompt for _, item in known])


def _bias_rows(name: str, found: Sequence[Compared], recipe: JudgeRecipe) -> list[MetricRow]:
    asked = [each for each in found if not each.same]
    decided = [
        (float((showing.outcome == 1.0) == showing.first), each.item.prompt)
        for each in asked
        for showing in each.showings
        if showing.outcome in (0.0, 1.0)
    ]
    rows = [estimate_row(name, "first_position", _mean(decided), "share")]
    if recipe.orders != "both":
        return rows
    flips = [(float(each.verdict == "flip"), each.item.prompt) for each in asked if each.parsed]
    rows.append(estimate_row(name, "position_bias", _mean(flips), "share"))
    for first, suffix in ((True, "shown_first"), (False, "shown_second")):
        values = [
            (_counted(showing.outcome, recipe), each.item.prompt)
            for each in found
            for showing in each.showings
            if showing.first == first
        ]
        known = [(value, prompt) for value, prompt in values if value is not None]
        rows.append(estimate_row(name, f"win_rate_{suffix}", _mean(known), "share"))
    return rows


def _mean(values: Sequence[tuple[float, str]]) -> Estimate:
    return clustered_mean([value for value, _ in values], [prompt for _, prompt in values])
