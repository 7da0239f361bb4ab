"""Estimates of a study's cells: the mean over seeds with its interval, as numbers and as text."""

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite, nan
from typing import Any

from results.statistics import CONFIDENCE, Interval, combined_interval, mean_interval
from results.studies.cells import Cell
from results.studies.scores import Score, Scores

UNKNOWN = Interval(nan, nan, nan, 0)

LEGEND = (
    "Mean over seeds ± half of the 95 % interval (number of experiments). The interval has seeds and prompts at "
    "random: the runs' mean squared standard error by prompt plus the seeds' variance over their number, Cochran's t."
)
EDGE = "-x or +x: all items of all runs alike; Clopper and Pearson's 95 % bound for the items of one run."
SINGLE = "n = 1: the run's own standard error by prompt."


def estimate(scores: Scores[Cell], benchmark: str, cell: Cell, apart: bool = False) -> Interval:
    """The mean of a cell over seeds and its interval; without bounds and with n = 0 where nothing was measured.

    Runs that diverged do not count.
    """
    runs = [run for run in scores.runs(benchmark, cell, apart).values() if isfinite(run.value)]
    if not runs:
        return UNKNOWN
    items = min((run.items for run in runs if run.items), default=None)
    found = combined_interval([run.value for run in runs], [run.stderr for run in runs], items)
    spread = any(run.stderr is not None for run in runs)
    return _at_the_edge(found, items if spread else None, scores.measured[benchmark].measure.factor)


def across_seeds(scores: Sequence[Score]) -> Interval:
    """The mean of one score of each seed and its interval; with errors by prompt these count too."""
    values = [score.value for score in scores]
    if all(score.stderr is None for score in scores):
        return mean_interval(values)
    items = min((score.items for score in scores if score.items), default=None)
    return combined_interval(values, [score.stderr for score in scores], items)


def _at_the_edge(found: Interval, items: int | None, factor: float) -> Interval:
    """Items that are all right or all wrong have no spread, but still a bound: Clopper and Pearson's (1934)."""
    if found.stderr != 0 or not items or found.mean not in (0.0, factor):
        return found
    reach = factor * (1 - float(((1 - CONFIDENCE) / 2) ** (1 / items)))
    low, high = (0.0, reach) if found.mean == 0 else (factor - reach, factor)
    return replace(found, low=low, high=high)


def measured_text(scores: Scores[Cell], benchmark: str, cell: Cell) -> str:
    """A measured cell as text: `0.356 ±0.006 (5)`, `… (3 of 5)` while runs are missing, or why there is nothing.

    Of runs that diverged it says at which step.
    """
    found, planned = estimate(scores, benchmark, cell), len(scores.planned.get(cell, ()))
    if not planned:
        return "not planned"
    runs = scores.runs(benchmark, cell).values()
    steps = sorted(run.step for run in runs if not isfinite(run.value))
    diverged = f"diverged at {', '.join(f'{step:g}' for step in steps)}" if steps else ""
    if not found.n:
        return f"{diverged} ({len(steps)} of {planned})" if steps else f"missing (0 of {planned})"
    count = f"{found.n}" if found.n == planned else f"{found.n} of {planned}"
    digits = scores.measured[benchmark].measure.digits
    return "; ".join(
        part
        for part in (f"{found.mean:.{digits}f} {interval_text(found, digits)} ({count})", diverged)
        if part
    )


def interval_text(found: Interval, digits: int = 3) -> str:
    """How far an interval goes: on both sides alike, or on one from the edge of what is possible."""
    if not found.known:
        return "±?"
    below, above = found.mean - found.low, found.high - found.mean
    if below == 0 < above:
        return f"+{above:.{digits}f}"
    return f"-{below:.{digits}f}" if above == 0 < below else f"±{above:.{digits}f}"


def interval_fields(found: Interval) -> dict[str, Any]:
    """An interval as named figures."""
    return {
        "mean": found.mean,
        "low": found.low,
        "high": found.high,
        "stderr": found.stderr,
        "df": found.df,
        "n": found.n,
    }
