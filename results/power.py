"""How many more seeds would decide the findings of a study that are not decided yet, and the commands that add them."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import TYPE_CHECKING, Any

from results.statistics.intervals import Interval
from results.statistics.power import cautious_spread, seeds_for_equality, seeds_for_sign, spread

if TYPE_CHECKING:
    import pandas as pd

    from results.studies.rendering import Table

UNDECIDED = ("leans", "undecided")
HEADER = ("finding", "test", "claim", "verdict", "effect", "95 % interval", "seeds", "more seeds", "cautious")
LEGEND = (
    "more seeds: how many, beyond those there are, decide the test with a probability of 80 %, if the mean and the "
    "spread between seeds are as seen; cautious: with the upper 80 % bound of the spread. Both take the effect seen "
    "for the true one, which flatters large effects. –: more seeds of these cells do not decide it.",
)
_SIGN = re.compile(r"[<>≤≥] (?P<bound>[-+.e\d]+)")
_MARGIN = re.compile(r"(?P<what>within|below) (?P<bound>[-+.e\d]+)")


@dataclass(frozen=True)
class Need:
    """A test that is not decided; `more` and `cautious` are seeds beyond those there are, infinite if none suffice."""

    finding: str
    test: str
    claim: str
    verdict: str
    effect: Interval
    more: float
    cautious: float


@dataclass(frozen=True)
class Extension:
    """The command that plans `seeds` more seeds, with which `decided` of the undecided tests are likely decided."""

    command: str
    seeds: int
    decided: int


def needs(findings: Iterable[Mapping[str, Any]]) -> list[Need]:
    """The undecided tests of `findings`, the objects of `yates findings --format json`, whose replicates are seeds."""
    return [
        need(finding["finding"], test)
        for finding in findings
        if finding["source"] == "store"
        for test in finding["tests"]
        if test["verdict"] in UNDECIDED and _by_seed(test)
    ]


def need(finding: str, test: Mapping[str, Any]) -> Need:
    """What one test needs."""
    mean, low, high, stderr = (_number(test[name]) for name in ("mean", "low", "high", "stderr"))
    effect = Interval(mean, low, high, int(test["n"]), stderr, _number(test["df"]))
    parts = (test["part"], test["benchmark"], test["comparison"])
    seen, careful = (
        more_seeds(effect, test["claim"], each) for each in (spread(effect), cautious_spread(effect))
    )
    return Need(
        finding,
        " ".join(part for part in parts if part),
        test["claim"],
        test["verdict"],
        effect,
        seen,
        careful,
    )


def more_seeds(effect: Interval, claim: str, deviation: float) -> float:
    """Seeds beyond the effect's own that decide `claim` if `deviation` is the spread between them.

    Infinite where none decide it or the claim is of another kind (the best of several, a correlation over cells).
    """
    if not (isfinite(effect.mean) and isfinite(deviation)):
        return inf
    if found := _SIGN.fullmatch(claim):
        wanted = seeds_for_sign(effect, float(found["bound"]), deviation)
    elif found := _MARGIN.fullmatch(claim):
        bound = float(found["bound"])
        within = found["what"] == "within"
        wanted = (seeds_for_equality if within else seeds_for_sign)(effect, bound, deviation)
    else:
        return inf
    return max(wanted - effect.n, 1)


def power_table(found: Sequence[Need], more: Sequence[Extension], title: str) -> "Table":
    """A row for each undecided test, and below them the commands that would add the seeds."""
    from results.studies.rendering import Table

    said = f"of these {len(found)} tests; `yates run` in its place computes the new seeds alone."
    notes = [
        *LEGEND,
        *(f"`{one.command}`: {one.seeds} more seeds, which decide {one.decided} {said}" for one in more),
    ]
    return Table(title, HEADER, [_row(one) for one in found], notes, [_record(one) for one in found])


def extensions(found: Sequence[Need], experiments: "pd.DataFrame", largest: int) -> list[Extension]:
    """The largest extension that any test needs within `largest` more seeds, for each grid of `experiments`.

    Seeds are added to the grid; what is done already stays, so a run of it computes the new seeds alone.
    """
    wanted = [int(one.more) for one in found if one.more <= largest]
    if not wanted or "seed" not in experiments.columns:
        return []
    places = experiments[["grid", "scale", "preset"]].drop_duplicates().itertuples(index=False)
    seeds = int(experiments["seed"].nunique()) + max(wanted)
    return [
        Extension(_command(grid, scale, preset, seeds), max(wanted), len(wanted))
        for grid, scale, preset in places
    ]


def _command(grid: str, scale: str, preset: str, seeds: int) -> str:
    chosen = [
        word
        for option, value in (("--scale", scale), ("--preset", preset))
        if value != "default"
        for word in (option, value)
    ]
    return shlex.join(["yates", "plan", grid, *chosen, "--seeds", str(seeds)])


def _by_seed(test: Mapping[str, Any]) -> bool:
    return "seed" in str(test["replicates"]) and int(test["n"]) > 1


def _number(value: Any) -> float:
    return nan if value is None else float(value)


def _row(one: Need) -> list[str]:
    bounds = f"[{one.effect.low:+.4g}, {one.effect.high:+.4g}]" if one.effect.known else "–"
    counts = [_seeds(one.more), _seeds(one.cautious)]
    return [
        one.finding,
        one.test,
        one.claim,
        one.verdict,
        f"{one.effect.mean:+.4g}",
        bounds,
        str(one.effect.n),
        *counts,
    ]


def _seeds(value: float) -> str:
    return f"{value:.0f}" if isfinite(value) else "–"


def _record(one: Need) -> dict[str, Any]:
    return {
        "finding": one.finding,
        "test": one.test,
        "claim": one.claim,
        "verdict": one.verdict,
        "effect": one.effect.mean,
        "low": one.effect.low,
        "high": one.effect.high,
        "seeds": one.effect.n,
        "more_seeds": one.more,
        "more_seeds_cautious": one.cautious,
    }
