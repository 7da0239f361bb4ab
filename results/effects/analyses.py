"""Factorial analyses of several metrics, their tests corrected together, as a table and as a figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from results.effects.observations import REPLICATES, Runs
from results.files import WorkspaceError
from results.statistics import holm
from results.statistics.factorial import Analysis, Effect, analyse

if TYPE_CHECKING:
    from results.studies.drawing import Figure
    from results.studies.rendering import Table

LEVEL = 0.05
HEADER = (
    "metric",
    "term",
    "levels",
    "effect",
    "95 % interval",
    "mean",
    "runs",
    "F",
    "df",
    "p",
    "Holm p",
    "share",
)
LEGEND = (
    "effect: what these levels add to the mean in which all combinations count alike, with its 95 % t interval over "
    "replicates; mean: the marginal mean. F, p: that all effects of the term are zero (type III). Holm p: corrected "
    "over all terms and metrics of this table. share: of the variation of the term and the error together.",
    "Effects of interactions are listed where their Holm p is below 0.05; the CSV has all.",
)


@dataclass(frozen=True)
class Effects:
    """The analysis of one metric; `p_holm` holds for each term the p corrected over all metrics analysed."""

    metric: str
    analysis: Analysis
    p_holm: dict[str, float]
    constant: dict[str, Any]

    def shown(self, effect: Effect) -> bool:
        """Whether a reader is shown the effect: all main effects, and interactions that are there."""
        return len(effect.factors) == 1 or self.p_holm[effect.term] < LEVEL


def analysed(
    runs: Runs,
    metrics: Sequence[str],
    factors: Sequence[str] = (),
    order: int = 2,
    replicates: str = REPLICATES,
) -> list[Effects]:
    """The effects of `factors` (all that vary) on each of `metrics`.

    Raises:
        WorkspaceError: an unknown name, a metric that no run has, or nothing that varies.
    """
    found = []
    for metric in metrics:
        seen = runs.observe(metric, factors, replicates)
        if not seen.levels:
            raise WorkspaceError(f"{metric}: no factor but {replicates!r} varies among the runs that have it")
        try:
            found.append((metric, analyse(seen.values, seen.levels, order), dict(seen.constant)))
        except ValueError as error:
            raise WorkspaceError(f"{metric}: {error}") from None
    corrected = iter(holm([term.p for _, analysis, _ in found for term in analysis.terms]))
    return [
        Effects(metric, analysis, {term.term: next(corrected) for term in analysis.terms}, constant)
        for metric, analysis, constant in found
    ]


def effects_table(found: Sequence[Effects], title: str) -> "Table":
    """A row for each term and, below it, one for each of its effects that is shown."""
    from results.studies.rendering import Table

    rows, records = [], []
    for one in found:
        for term in one.analysis.terms:
            tests = [
                _number(term.f),
                f"{term.df}, {one.analysis.error_df}",
                _p(term.p),
                _p(one.p_holm[term.term]),
            ]
            rows.append([one.metric, term.term, "", "", "", "", "", *tests, _percent(term.share)])
            effects = [effect for effect in one.analysis.effects if effect.term == term.term]
            rows += [_row(effect) for effect in effects if one.shown(effect)]
            records += [_record(one, effect) for effect in effects]
    return Table(title, HEADER, rows, [*LEGEND, *(note for one in found for note in _notes(one))], records)


def effects_figure(found: Sequence[Effects], title: str) -> "Figure":
    """A panel for each metric, a row for each effect that is shown in any of them."""
    from results.studies.drawing import Figure, Point

    shown = dict.fromkeys(
        (effect.term, effect.levels) for one in found for effect in one.analysis.effects if one.shown(effect)
    )
    points = [
        Point(one.metric, "effect", _label(effect), effect.effect)
        for one in found
        for effect in one.analysis.effects
        if (effect.term, effect.levels) in shown
    ]
    rows = list(dict.fromkeys(point.place for point in points))
    order = [str(row) for row in rows]
    note = "Effects: deviations from the mean in which all combinations count alike. Bars: 95 % t intervals."
    panels = [one.metric for one in found]
    return Figure(title, "rows", panels, ["effect"], points, order, notes=[note])


def _label(effect: Effect) -> str:
    return ", ".join(f"{factor} {level}" for factor, level in zip(effect.factors, effect.levels, strict=True))


def _row(effect: Effect) -> list[str]:
    found = effect.effect
    bounds = f"[{found.low:+.4g}, {found.high:+.4g}]" if found.known else "–"
    levels = " × ".join(map(str, effect.levels))
    return ["", "", levels, f"{found.mean:+.4g}", bounds, _number(effect.mean.mean), str(found.n), *[""] * 5]


def _record(one: Effects, effect: Effect) -> dict[str, Any]:
    test = next(term for term in one.analysis.terms if term.term == effect.term)
    return {
        "metric": one.metric,
        "term": effect.term,
        "levels": " × ".join(map(str, effect.levels)),
        "effect": effect.effect.mean,
        "low": effect.effect.low,
        "high": effect.effect.high,
        "stderr": effect.effect.stderr,
        "mean": effect.mean.mean,
        "mean_low": effect.mean.low,
        "mean_high": effect.mean.high,
        "runs": effect.effect.n,
        "f": test.f,
        "df": test.df,
        "error_df": one.analysis.error_df,
        "p": test.p,
        "p_holm": one.p_holm[effect.term],
        "share": test.share,
    }


def _notes(one: Effects) -> list[str]:
    found = one.analysis
    notes = [
        f"{one.metric}: {found.runs} runs in {found.cells} cells, error of one run {_number(found.error)}."
    ]
    if not found.error_df:
        notes = [f"{one.metric}: one run a cell and every term leave no error; add seeds or lower --order."]
    if found.lack_of_fit is not None and found.lack_of_fit.p < LEVEL:
        notes.append(
            f"{one.metric}: higher interactions matter (p {_p(found.lack_of_fit.p)}); raise --order."
        )
    if one.constant:
        same = ", ".join(f"{factor} {level}" for factor, level in one.constant.items())
        notes.append(f"{one.metric}: the same in all runs: {same}.")
    return notes + [f"{one.metric}: {term} left out: {why}." for term, why in found.left_out.items()]


def _number(value: float) -> str:
    return f"{value:.4g}" if isfinite(value) else "–"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %" if isfinite(value) else "–"


def _p(value: float) -> str:
    return "–" if not isfinite(value) else "<0.0001" if value < 1e-4 else f"{value:.4f}"
