"""The study's tables T2 to T5 from scores: each cell with its interval and number of runs, beside what is published."""

from dataclasses import dataclass
from typing import Any

from results.studies import tables
from results.studies.alignment.cells import Cell
from results.studies.alignment.layouts import LAYOUTS, Column
from results.studies.alignment.scores import Scores
from results.studies.estimates import EDGE, LEGEND, SINGLE, estimate, interval_fields, measured_text
from results.studies.rendering import Table
from results.studies.scores import SHAPE
from results.studies.tables import lacking, planned_rows

SHAPES = "Shape: length in tokens, share of repeated trigrams, share of answers that ended."


@dataclass(frozen=True)
class Sources(tables.Sources[Cell]):
    """Where a table's figures come from; `shape` adds the shape of judged answers."""

    shape: bool = False


def results_table(name: str, sources: Sources) -> Table:
    """The table `name` of LAYOUTS.

    A cell that was planned and not measured, or not planned at all, says so; so does a published one that the
    paper does not print. Rows of which nothing is planned are left out where no
    published figure stands beside.
    """
    layout = LAYOUTS[name]
    rows = {line.labels: list(line.labels) for line in layout.lines}
    planned = dict.fromkeys(rows, sources.published is not None)
    records = []
    for line, column, cell in layout.places():
        rows[line.labels] += _texts(sources, column, cell)
        planned[line.labels] |= sources.store is not None and bool(sources.store.planned.get(cell))
        records.append(_record(sources, column, cell))
    header = [*layout.labels, *(text for column in layout.columns for text in _headings(sources, column))]
    heading = f"{layout.title} ({sources.first.title})"
    shown, left_out = planned_rows(list(rows.values()), list(planned.values()))
    return Table(heading, header, shown, [*_notes(sources, layout.columns, records), *left_out], records)


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
    return [*notes, *lacking(records)]
