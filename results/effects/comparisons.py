"""The levels of one factor against each other over shared cells: differences, ranks, wins, as one table."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from results.effects.observations import REPLICATES, Observations, Runs
from results.files import WorkspaceError
from results.statistics.design import Matrix
from results.statistics.intervals import Interval
from results.statistics.ranks import Duel, Ranking, ranking

if TYPE_CHECKING:
    from results.studies.rendering import Table

ALL = "all metrics"
LEGEND = (
    "Over the cells (levels of all other factors alike) that both levels have, with the same seeds. difference: row "
    "less column, its 95 % t interval over seeds, each the mean over cells; with one seed the replicates are cells. "
    "wins: shared cells in which the first is better, ties one half. Holm p: corrected over the pairs of a metric.",
    "mean rank: 1 is best, over the cells and seeds that all levels have. Friedman: that no level ranks above another.",
)


@dataclass(frozen=True)
class Comparison:
    """The ranking of `levels` on one metric, or on all of them together (ranks and wins alone have a meaning there)."""

    metric: str
    levels: Sequence[Any]
    ranking: Ranking


def compared(
    runs: Runs,
    factor: str,
    metrics: Sequence[str],
    lower: Collection[str] = (),
    replicates: str = REPLICATES,
) -> list[Comparison]:
    """The levels of `factor` compared on each metric and, if there are several, on all; of `lower` less is better.

    Raises:
        WorkspaceError: an unknown name, a metric that no run has, or fewer than two levels.
    """
    found, tables = [], []
    levels = _levels(runs, factor, metrics, replicates)
    seen = [runs.observe(metric, (), replicates) for metric in metrics]
    seeds = sorted({seed for one in seen for seed in one.replicates}, key=str)
    for metric, one in zip(metrics, seen, strict=True):
        scores = scores_of(one, factor, levels, seeds)
        tables.append(-scores if metric in lower else scores)
        found.append(Comparison(metric, levels, _signed(ranking(tables[-1]), metric in lower)))
    if len(tables) > 1:
        found.append(Comparison(ALL, levels, ranking(np.concatenate(tables, axis=1))))
    return found


def scores_of(seen: Observations, factor: str, levels: Sequence[Any], seeds: Sequence[Any]) -> Matrix:
    """(levels, cells, seeds): the metric, NaN where there is no run; of several runs of a place their mean."""
    others = [name for name in seen.levels if name != factor]
    arms = seen.levels.get(factor) or [seen.constant[factor]] * len(seen.values)
    cells = list(zip(*(seen.levels[name] for name in others), strict=True)) or [()] * len(seen.values)
    known_cells = list(dict.fromkeys(cells))
    total = np.zeros((len(levels), len(known_cells), len(seeds)))
    count = np.zeros_like(total)
    at_cell = {cell: number for number, cell in enumerate(known_cells)}
    at_seed = {seed: number for number, seed in enumerate(seeds)}
    at_level = {level: number for number, level in enumerate(levels)}
    for arm, cell, seed, value in zip(arms, cells, seen.replicates, seen.values, strict=True):
        place = at_level[arm], at_cell[cell], at_seed[seed]
        total[place] += value
        count[place] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def comparison_table(found: Sequence[Comparison], factor: str, title: str) -> "Table":
    """For each metric a row a level (mean rank, wins against each) and a row a pair (its difference)."""
    from results.studies.rendering import Table

    levels = [str(level) for level in found[0].levels]
    header = ["metric", factor, "mean rank", "difference", "95 % interval", "cells", "seeds", "p", "Holm p"]
    rows, records = [], []
    for one in found:
        wins = one.ranking.wins()
        for place, level in enumerate(levels):
            shares = ["" if place == other else _share(wins[place, other]) for other in range(len(levels))]
            shape = [str(one.ranking.cells), str(one.ranking.seeds)]
            rows.append([one.metric, level, _rank(one.ranking.ranks[place]), "", "", *shape, "", "", *shares])
        rows += [] if one.metric == ALL else [_duel(one, duel, levels) for duel in one.ranking.duels]
        records += [_record(one, duel, levels) for duel in one.ranking.duels]
    notes = [*LEGEND, *(_friedman(one) for one in found if isfinite(one.ranking.p))]
    return Table(title, [*header, *(f"wins against {level}" for level in levels)], rows, notes, records)


def _levels(runs: Runs, factor: str, metrics: Sequence[str], replicates: str) -> list[Any]:
    if factor == replicates:
        raise WorkspaceError(f"{factor!r} makes the replicates; its levels are not compared")
    seen: dict[Any, None] = {}
    for metric in metrics:
        observed = runs.observe(metric, [factor], replicates)
        seen |= dict.fromkeys(observed.levels.get(factor) or observed.constant.values())
    if len(seen) < 2:
        raise WorkspaceError(f"{factor!r} has one level only among these runs: {', '.join(map(str, seen))}")
    return list(seen)


def _signed(found: Ranking, lower: bool) -> Ranking:
    """Differences in the metric's own sign, whichever way is better."""
    if not lower:
        return found
    from dataclasses import replace

    turned = [
        replace(duel, paired=replace(duel.paired, difference=_negative(duel.paired.difference)))
        for duel in found.duels
    ]
    return replace(found, duels=turned)


def _negative(found: Interval) -> Interval:
    return Interval(-found.mean, -found.high, -found.low, found.n, found.stderr, found.df)


def _duel(one: Comparison, duel: Duel, levels: Sequence[str]) -> list[str]:
    found = duel.paired
    known = found.difference.known
    bounds = f"[{found.difference.low:+.4g}, {found.difference.high:+.4g}]" if known else "–"
    pair = f"{levels[duel.first]} − {levels[duel.second]}"
    mean = f"{found.difference.mean:+.4g}" if found.cells else "–"
    shape = [str(found.cells), str(found.seeds)]
    return [one.metric, pair, "", mean, bounds, *shape, _p(duel.p), _p(duel.p_holm), *[""] * len(levels)]


def _record(one: Comparison, duel: Duel, levels: Sequence[str]) -> dict[str, Any]:
    found, ranks = duel.paired, one.ranking.ranks
    difference = found.difference if one.metric != ALL else Interval(np.nan, np.nan, np.nan, 0)
    return {
        "metric": one.metric,
        "first": levels[duel.first],
        "second": levels[duel.second],
        "difference": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "cells": found.cells,
        "seeds": found.seeds,
        "wins": found.wins,
        "ties": found.ties,
        "p": duel.p if one.metric != ALL else np.nan,
        "p_holm": duel.p_holm if one.metric != ALL else np.nan,
        "first_rank": ranks[duel.first].mean,
        "second_rank": ranks[duel.second].mean,
    }


def _friedman(one: Comparison) -> str:
    return f"{one.metric}: Friedman's p {_p(one.ranking.p)} over {one.ranking.cells} cells."


def _rank(found: Interval) -> str:
    if not isfinite(found.mean):
        return "–"
    return f"{found.mean:.2f} ± {found.half_width:.2f}" if found.known else f"{found.mean:.2f}"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %" if isfinite(value) else "–"


def _p(value: float) -> str:
    return "–" if not isfinite(value) else "<0.0001" if value < 1e-4 else f"{value:.4f}"
