"""A table of text with its notes, as Markdown, LaTeX or CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

FORMATS = ("markdown", "latex", "csv")

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """What a reader sees (`header`, `rows`, `notes`), and the figures behind it (`records`), for CSV.

    Invariant: every row is as long as the header; every record has the same keys.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    records: Sequence[Record] = field(default_factory=list)


def render(table: Table, format_: str) -> str:
    """`table` in one of FORMATS, without a final newline."""
    return {"markdown": markdown, "latex": latex, "csv": as_csv}[format_](table)


def markdown(table: Table) -> str:
    """Title, a table of pipes, and the notes as a list."""
    from tabulate import tabulate

    rows = [[_one_line(text).replace("|", "\\|") for text in row] for row in table.rows]
    body = tabulate(rows, list(table.header), tablefmt="pipe", disable_numparse=True)
    notes = "".join(f"\n- {note}" for note in table.notes)
    return f"**{table.title}**\n\n{body}" + (f"\n{notes}" if notes else "")


def latex(table: Table) -> str:
    """A `table` environment for the package booktabs; the notes stand below the rows."""
    from tabulate import tabulate

    rows = [[_one_line(text) for text in row] for row in table.rows]
    body = tabulate(rows, list(table.header), tablefmt="latex_booktabs", disable_numparse=True)
    notes = [f"\\par\\footnotesize {_escaped(note)}" for note in table.notes]
    caption = f"\\caption{{{_escaped(table.title)}}}"
    lines = ["\\begin{table}", "\\centering", caption, body, *notes, "\\end{table}"]
    return "\n".join(lines).replace("±", "$\\pm$")


def as_csv(table: Table) -> str:
    """The records, one a line; where there are none, the rows. Unknown figures are empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if table.records:
        writer.writerow(table.records[0].keys())
        writer.writerows([_plain(value) for value in record.values()] for record in table.records)
    else:
        writer.writerow(table.header)
        writer.writerows(table.rows)
    return stream.getvalue().rstrip("\n")


def _plain(value: Any) -> Any:
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return ""
    return f"{value:.10g}" if isinstance(value, float) else value


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _escaped(text: str) -> str:
    for plain, written in (
        ("\\", "\\textbackslash "),
        ("&", "\\&"),
        ("%", "\\%"),
        ("_", "\\_"),
        ("#", "\\#"),
    ):
        text = text.replace(plain, written)
    return text
