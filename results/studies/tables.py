"""Tables of cells by benchmarks: each with its interval and number of runs, beside what is published."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic

from results.studies.cells import Cell, named
from results.studies.estimates import EDGE, LEGEND, SINGLE, estimate, interval_fields, measured_text
from results.studies.rendering import Table
from results.studies.scores import Scores


@dataclass(frozen=True)
class Sources(Generic[Cell]):
    """Where a table's figures come from; at least one is given."""

    store: Scores[Cell] | None = None
    published: Scores[Cell] | None = None

    @property
    def first(self) -> Scores[Cell]:
        """The store, or the published figures where they are shown alone.

        Raises:
            ValueError: there is neither.
        """
        found = self.store or self.published
        if found is None:
            raise ValueError("a table needs a store, published figures, or both")
        return found


@dataclass(frozen=True)
class Line(Generic[Cell]):
    """A row of a table: its labels, and its cell."""

    labels: tuple[str, ...]
    cell: Cell


@dataclass(frozen=True)
class Layout(Generic[Cell]):
    """A table of a study: a row for each line, a column for each benchmark.

    `source` names what is printed; of the benchmarks in `printed` there is nothing else. `absent` stands
    where it has no figure.
    """

    title: str
    labels: tuple[str, ...]
    lines: Sequence[Line[Cell]]
    benchmarks: Sequence[str]
    source: str
    notes: Sequence[str] = ()
    printed: Sequence[str] = ()
    absent: str = "not printed"


def planned_rows(rows: Sequence[list[str]], planned: Sequence[bool]) -> tuple[list[list[str]], list[str]]:
    """The rows of which any cell is planned, and a note about the others; all of them where none is."""
    left = len(planned) - sum(planned)
    if not left or not any(planned):
        return list(rows), []
    kept = [row for row, shown in zip(rows, planned, strict=True) if shown]
    return kept, [
        f"Left out: {left} {'row' if left == 1 else 'rows'} of which nothing is planned; --published shows all."
    ]


def lacking(records: Sequence[dict[str, Any]]) -> list[str]:
    """A note on how many planned cells lack runs; none where all are there."""
    planned = [one for one in records if one["planned"]]
    missing = sum(one["n"] < one["planned"] for one in planned)
    return [f"{missing} of {len(planned)} planned cells lack runs."] if missing else []


def scores_table(layout: Layout[Cell], sources: Sources[Cell]) -> Table:
    """The table of `layout`. A cell that is not planned, not measured or not printed says so."""
    first = sources.first
    header = [*layout.labels, *(first.measured[name].heading for name in layout.benchmarks)]
    rows = [
        [*line.labels, *(_text(layout, sources, name, line.cell) for name in layout.benchmarks)]
        for line in layout.lines
    ]
    records = [
        _record(sources, line, layout.labels, name) for line in layout.lines for name in layout.benchmarks
    ]
    notes = _notes(layout, sources, records)
    if sources.store is not None and sources.published is None:
        rows, left_out = planned_rows(
            rows, [bool(sources.store.planned.get(line.cell)) for line in layout.lines]
        )
        notes += left_out
    return Table(f"{layout.title} ({first.title})", header, rows, notes, records)


def _text(layout: Layout[Cell], sources: Sources[Cell], benchmark: str, cell: Cell) -> str:
    if sources.published is not None and (sources.store is None or benchmark in layout.printed):
        return printed_text(sources.published, benchmark, cell, layout.absent)
    assert sources.store is not None
    text = measured_text(sources.store, benchmark, cell)
    if sources.published is None:
        return text
    return f"{text} [{printed_text(sources.published, benchmark, cell, layout.absent)}]"


def printed_text(scores: Scores[Cell], benchmark: str, cell: Cell, absent: str) -> str:
    """A printed figure, with a star where it is not read from the paper or its code."""
    runs = scores.runs(benchmark, cell)
    if not runs:
        return absent
    return f"{runs[0].value:.10g}{'*' if (benchmark, cell) in scores.remarks else ''}"


def _record(
    sources: Sources[Cell], line: Line[Cell], labels: Sequence[str], benchmark: str
) -> dict[str, Any]:
    """The figures of a cell, full precision, for CSV."""
    record: dict[str, Any] = {**named(line.cell), "label": " ".join(line.labels), "benchmark": benchmark}
    if sources.store is not None:
        one, runs = sources.store.measured[benchmark], sources.store.runs(benchmark, line.cell)
        record |= {"task": one.measure.task, "unit": one.measure.unit}
        record |= interval_fields(estimate(sources.store, benchmark, line.cell))
        record["planned"] = len(sources.store.planned.get(line.cell, ()))
        record["values"] = " ".join(f"s{seed}={runs[seed].value:.6g}" for seed in sorted(runs))
    if sources.published is not None:
        printed = sources.published.runs(benchmark, line.cell)
        record["published"] = printed[0].value if printed else None
        record["published_stderr"] = printed[0].stderr if printed else None
        record["remark"] = sources.published.remarks.get((benchmark, line.cell), "")
    return record


def _notes(layout: Layout[Cell], sources: Sources[Cell], records: Sequence[dict[str, Any]]) -> list[str]:
    units = [sources.first.measured[name].note for name in layout.benchmarks]
    notes = list(dict.fromkeys(units))
    if sources.store is None:
        notes = [f"Published figures ({layout.source}): one a cell, without a spread.", *notes]
    else:
        notes = [LEGEND, *([SINGLE] if any(one["n"] == 1 for one in records) else []), *notes]
        notes += [EDGE] if any(one["stderr"] == 0 for one in records) else []
        notes += [f"In brackets: the published figure ({layout.source})."] if sources.published else []
    if any(one.get("remark") for one in records):
        remarks = dict.fromkeys(one["remark"] for one in records if one["remark"])
        notes.append(f"*: {'; '.join(remarks)}.")
    if sources.store is not None:
        own = [one for one in records if one["benchmark"] not in layout.printed]
        notes += lacking(own)
    return [*notes, *layout.notes]
