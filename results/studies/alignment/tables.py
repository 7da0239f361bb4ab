"""The study's tables T2 to T5 from scores: each cell with its interval and number of runs, beside what is published."""

from dataclasses import dataclass, replace
from math import nan
from typing import Any

from results.statistics import CONFIDENCE, Interval, combined_interval
from results.studies.alignment.cells import Cell
from results.studies.alignment.layouts import LAYOUTS, Column
from results.studies.alignment.scores import SHAPE, Scores
from results.studies.rendering import Table

UNKNOWN = Interval(nan, nan, nan, 0)

LEGEND = (
    "Mean over seeds ± half of the 95 % interval (number of experiments). The interval has seeds and prompts at "
    "random: the runs' mean squared standard error by prompt plus the seeds' variance over their number, Cochran's t."
)
SHAPES = "Shape: length in tokens, share of repeated trigrams, share of answers that ended."
EDGE = "-x or +x: all items of all runs alike; Clopper and Pearson's 95 % bound for the items of one run."
SINGLE = "n = 1: the run's own standard error by prompt."


@dataclass(frozen=True)
class Sources:
    """Where a table's figures come from; at least one is given. `shape` adds the shape of judged answers."""

    store: Scores | None = None
    published: Scores | None = None
    shape: bool = False

    @property
    def first(self) -> Scores:
        """The store, or the published figures where they are shown alone.

        Raises:
            ValueError: there is neither.
        """
        found = self.store or self.published
        if found is None:
            raise ValueError("a table needs a store, published figures, or both")
        return found


def estimate(scores: Scores, benchmark: str, cell: Cell, unquantized: bool = False) -> Interval:
    """The mean of a cell over seeds and its interval; without bounds and with n = 0 where nothing was measured."""
    runs = list(scores.runs(benchmark, cell, unquantized).values())
    if not runs:
        return UNKNOWN
    items = min((run.items for run in runs if run.items), default=None)
    found = combined_interval([run.value for run in runs], [run.stderr for run in runs], items)
    return _at_the_edge(found, items, scores.measured[benchmark].measure.factor)


def _at_the_edge(found: Interval, items: int | None, factor: float) -> Interval:
    """Items that are all right or all wrong have no spread, but still a bound: Clopper and Pearson's (1934)."""
    if found.stderr != 0 or not items or found.mean not in (0.0, factor):
        return found
    reach = factor * (1 - float(((1 - CONFIDENCE) / 2) ** (1 / items)))
    low, high = (0.0, reach) if found.mean == 0 else (factor - reach, factor)
    return replace(found, low=low, high=high)


def results_table(name: str, sources: Sources) -> Table:
    """The table `name` of LAYOUTS.

    A cell that was planned and not measured, or not planned at all, says so; so does a published one that the
    paper does not print.
    """
    layout = LAYOUTS[name]
    rows = {line.labels: list(line.labels) for line in layout.lines}
    records = []
    for line, column, cell in layout.places():
        rows[line.labels] += _texts(sources, column, cell)
        records.append(_record(sources, column, cell))
    header = [*layout.labels, *(text for column in layout.columns for text in _headings(sources, column))]
    heading = f"{layout.title} ({sources.first.title})"
    return Table(heading, header, list(rows.values()), _notes(sources, layout.columns, records), records)


def _headings(sources: Sources, column: Column) -> list[str]:
    one = sources.first.measured[column.benchmark]
    heading = f"{one.heading} {column.suffix}".rstrip()
    return [heading, f"{heading}: shape"] if _shaped(sources, column) else [heading]


def _shaped(sources: Sources, column: Column) -> bool:
    """Whether the shape of answers stands beside: where answers are judged, and the task has answers at all."""
    if not sources.shape or sources.store is None:
        return False
    return sources.store.measured[column.benchmark].judged and column.benchmark in sources.store.shapes


def _texts(sources: Sources, column: Column, cell: Cell) -> list[str]:
    texts = [_text(sources, column.benchmark, cell)]
    if sources.store is not None and _shaped(sources, column):
        shape = sources.store.shapes.get(column.benchmark, {}).get(cell, {})
        texts.append(", ".join(f"{shape[name]:.3g}" if name in shape else "?" for name in SHAPE))
    return texts


def _text(sources: Sources, benchmark: str, cell: Cell) -> str:
    if sources.store is None:
        return _printed(sources.first, benchmark, cell)
    text = measured_text(sources.store, benchmark, cell)
    return f"{text} [{_printed(sources.published, benchmark, cell)}]" if sources.published else text


def _printed(scores: Scores, benchmark: str, cell: Cell) -> str:
    runs = scores.runs(benchmark, cell)
    return f"{runs[0].value:.3f}" if runs else "not printed"


def measured_text(scores: Scores, benchmark: str, cell: Cell) -> str:
    """A measured cell as text: `0.356 ±0.006 (5)`, `… (3 of 5)` while runs are missing, or why there is nothing."""
    found, planned = estimate(scores, benchmark, cell), len(scores.planned.get(cell, ()))
    if not planned:
        return "not planned"
    if not found.n:
        return f"missing (0 of {planned})"
    count = f"{found.n}" if found.n == planned else f"{found.n} of {planned}"
    return f"{found.mean:.3f} {_reach(found)} ({count})"


def _reach(found: Interval) -> str:
    """How far the interval goes: on both sides alike, or on one from the edge of what is possible."""
    if not found.known:
        return "±?"
    below, above = found.mean - found.low, found.high - found.mean
    return (
        f"+{above:.3f}" if below == 0 < above else f"-{below:.3f}" if above == 0 < below else f"±{above:.3f}"
    )


def _record(sources: Sources, column: Column, cell: Cell) -> dict[str, Any]:
    """The figures of a cell, full precision, for CSV."""
    record: dict[str, Any] = {**cell._asdict(), "benchmark": column.benchmark}
    if sources.store is not None:
        one = sources.store.measured[column.benchmark]
        found = estimate(sources.store, column.benchmark, cell)
        planned = len(sources.store.planned.get(cell, ()))
        record |= {
            "task": one.measure.task,
            "unit": one.measure.unit,
            **interval_fields(found),
            "planned": planned,
        }
        runs = sources.store.runs(column.benchmark, cell)
        record["values"] = " ".join(f"s{seed}={runs[seed].value:.6g}" for seed in sorted(runs))
        shape = sources.store.shapes.get(column.benchmark, {}).get(cell, {})
        record |= {name: shape.get(name) for name in SHAPE} if sources.shape else {}
    if sources.published is not None:
        runs = sources.published.runs(column.benchmark, cell)
        record["published"] = runs[0].value if runs else None
    return record


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


def _notes(sources: Sources, columns: tuple[Column, ...], records: list[dict[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(column.benchmark for column in columns))
    notes = [sources.first.measured[name].note for name in names]
    if sources.store is None:
        return ["As printed: one figure a cell, without a spread (arXiv 2406.04879v1).", *notes]
    notes = [LEGEND, *([SINGLE] if any(record["n"] == 1 for record in records) else []), *notes]
    if any(_shaped(sources, column) for column in columns):
        notes.append(SHAPES)
    if any(record["stderr"] == 0 for record in records):
        notes.append(EDGE)
    if sources.published is not None:
        notes.append("In brackets: the published figure (arXiv 2406.04879v1).")
    missing = sum(record["n"] < max(record["planned"], 1) for record in records)
    return [*notes, f"{missing} of {len(records)} cells lack runs."] if missing else notes
