"""Figures of a study: panels of points with their intervals, drawn by matplotlib or written as CSV.

Colours are those of Okabe and Ito, which the colour-blind tell apart; published values are hollow markers, in a
figure of curves joined by a thin line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from results.statistics import Interval
from results.studies.rendering import Table, as_csv

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", ":", "-.")
PANEL = (2.6, 0.26)
"""Width of a panel, and height of one row of points, in inches."""
CURVE = (3.0, 2.5)
"""Width and height of a panel of curves, in inches."""
NARROWEST = 6.0
"""Width of a sheet of curves at least, in inches: its legend and notes need as much."""
FONT = 8
NOTE = 0.15
LEGEND = 0.28
"""Heights of a line of notes and of a line of the legend below the panels, in inches."""
LEGEND_COLUMNS = 3
"""Of a legend that has more than five entries."""


@dataclass(frozen=True)
class Point:
    """An estimate in a panel, at a row (kind "rows") or at an abscissa (kind "curves"), and the published value."""

    panel: str
    series: str
    place: str | float
    estimate: Interval
    published: float | None = None
    style: str = ""


@dataclass(frozen=True)
class Figure:
    """What a figure shows. `panels`, `series` and `rows` give the order; `notes` stand below.

    In a figure of rows a point's place is one of `rows`; in one of curves it is a number on the axis `across`, and
    `aside` moves lines a little apart, where the abscissa has no error of its own. A series has its colour; a style,
    in order of appearance, its kind of line.
    """

    title: str
    kind: Literal["rows", "curves"]
    panels: Sequence[str]
    series: Sequence[str]
    points: Sequence[Point]
    rows: Sequence[str] = ()
    across: str = ""
    columns: int = 4
    notes: Sequence[str] = ()
    aside: bool = True

    def as_csv(self) -> str:
        """The data behind the figure, a line a point."""
        return as_csv(Table(self.title, (), (), (), [_record(point) for point in self.points]))

    def save(self, path: Path) -> None:
        """Draw it as `path` says by its suffix: .svg, .png or .pdf. The bytes depend on the data alone.

        Raises:
            OSError: the file cannot be written.
        """
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Sheet

        style = {"font.size": FONT, "svg.hashsalt": self.title, "svg.fonttype": "none", "axes.linewidth": 0.6}
        with matplotlib.rc_context(style):
            sheet = Sheet(figsize=self._size(), layout="constrained")
            FigureCanvasAgg(sheet)
            axes = sheet.subplots(self._lines(), self._columns(), squeeze=False, sharey=self.kind == "rows")
            flat = [axis for line in axes for axis in line]
            for axis, panel in zip(flat, self.panels, strict=False):
                _DRAW[self.kind](axis, self, panel)
            for axis in flat[len(self.panels) :]:
                axis.set_visible(False)
            self._finish(sheet, flat[0])
            plain: dict[str, Any] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(
                path.suffix, {}
            )
            sheet.savefig(path, dpi=150, metadata=plain)

    def _columns(self) -> int:
        return max(1, min(self.columns, len(self.panels)))

    def _lines(self) -> int:
        return -(-len(self.panels) // self._columns())

    def _size(self) -> tuple[float, float]:
        lines, columns = self._lines(), self._columns()
        notes = NOTE * len(self.notes) + LEGEND * self._legend()[0]
        if self.kind == "rows":
            return columns * PANEL[0] + 1.6, lines * (len(self.rows) * PANEL[1] + 0.6) + 0.7 + notes
        return max(columns * CURVE[0] + 0.3, NARROWEST), lines * CURVE[1] + 0.7 + notes

    def _legend(self) -> tuple[int, int]:
        """Rows and columns of the legend."""
        count = len(_handles(self))
        columns = count if count <= 5 else LEGEND_COLUMNS
        return -(-count // max(columns, 1)), columns

    def _finish(self, sheet: Any, first: Any) -> None:
        sheet.suptitle(self.title, fontsize=FONT + 2, x=0.01, ha="left")
        height, handles = sheet.get_figheight(), _handles(self)
        notes, (rows, columns) = len(self.notes) * NOTE / height, self._legend()
        below = notes + LEGEND * rows / height
        sheet.get_layout_engine().set(rect=(0, below, 1, 1 - below))
        where = {"loc": "lower left", "bbox_to_anchor": (0.0, notes), "borderaxespad": 0.4}
        sheet.legend(handles=handles, ncols=columns, frameon=False, **where)
        sheet.text(0.01, 0.05 / height, "\n".join(self.notes), fontsize=FONT - 1, va="bottom")
        if self.kind == "rows":
            first.set_yticks(range(len(self.rows)), list(self.rows))
            first.set_ylim(len(self.rows) - 0.5, -0.5)


def _draw_rows(axis: Any, figure: Figure, panel: str) -> None:
    """Points in rows, the series of a row a little apart."""
    _frame(axis, panel)
    axis.grid(axis="x", linewidth=0.3)
    for row in range(1, len(figure.rows)):
        axis.axhline(row - 0.5, color="0.9", linewidth=0.5)
    step = 0.6 / max(len(figure.series), 1)
    for point in _of(figure, panel):
        number = figure.series.index(point.series)
        height = list(figure.rows).index(str(point.place)) + (number - (len(figure.series) - 1) / 2) * step
        _mark(axis, point, number, height)


def _mark(axis: Any, point: Point, number: int, height: float) -> None:
    colour, found = _nth(COLOURS, number), point.estimate
    if found.known:
        axis.plot([found.low, found.high], [height, height], color=colour, linewidth=1)
    if found.n:
        axis.plot(found.mean, height, _nth(MARKERS, number), color=colour, markersize=3.5)
    if point.published is not None:
        axis.plot(
            point.published,
            height,
            _nth(MARKERS, number),
            color=colour,
            markersize=5,
            fillstyle="none",
        )


def _draw_curves(axis: Any, figure: Figure, panel: str) -> None:
    """Lines over the abscissa with their intervals as bars."""
    _frame(axis, panel)
    axis.grid(linewidth=0.3)
    axis.set_xlabel(figure.across)
    lines: dict[tuple[str, str], list[Point]] = {}
    for point in _of(figure, panel):
        lines.setdefault((point.series, point.style), []).append(point)
    moved = _aside(lines) if figure.aside else dict.fromkeys(lines, 0.0)
    for (series, style), points in lines.items():
        look = {
            "color": _nth(COLOURS, figure.series.index(series)),
            "marker": _nth(MARKERS, _styles(figure).index(style)),
        }
        line = _nth(LINES, _styles(figure).index(style))
        measured = [point for point in points if point.estimate.n]
        if measured:
            _draw_line(axis, measured, moved[series, style], {**look, "linestyle": line})
        printed = [point for point in points if point.published is not None]
        places = [float(point.place) for point in printed]
        values = [point.published for point in printed]
        axis.plot(places, values, **look, fillstyle="none", markersize=5, linewidth=0.4)


def _draw_line(axis: Any, points: Sequence[Point], aside: float, look: dict[str, Any]) -> None:
    means = [point.estimate.mean for point in points]
    below = [_length(point.estimate.mean - point.estimate.low, point.estimate) for point in points]
    above = [_length(point.estimate.high - point.estimate.mean, point.estimate) for point in points]
    places = [float(point.place) + aside for point in points]
    axis.errorbar(places, means, yerr=[below, above], **look, markersize=3, linewidth=1, elinewidth=0.6)


def _aside(lines: Mapping[tuple[str, str], Sequence[Point]]) -> dict[tuple[str, str], float]:
    """How far each line is moved to the side, so that the bars of one step do not hide each other."""
    places = [float(point.place) for points in lines.values() for point in points]
    width = (max(places) - min(places)) / 80 if places else 0.0
    return {name: (number - (len(lines) - 1) / 2) * width for number, name in enumerate(lines)}


def _length(value: float, estimate: Interval) -> float:
    return max(value, 0.0) if estimate.known else 0.0


def _frame(axis: Any, panel: str) -> None:
    axis.set_title(panel, fontsize=FONT, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(length=2, width=0.5)


def _of(figure: Figure, panel: str) -> list[Point]:
    found = [point for point in figure.points if point.panel == panel]
    return [point for point in found if point.estimate.n or point.published is not None]


def _styles(figure: Figure) -> list[str]:
    return list(dict.fromkeys(point.style for point in figure.points))


def _handles(figure: Figure) -> list[Any]:
    from matplotlib.lines import Line2D

    rows = figure.kind == "rows"
    handles = [
        Line2D([], [], color=_nth(COLOURS, number), marker=_nth(MARKERS, number) if rows else "", label=name)
        for number, name in enumerate(figure.series)
    ]
    if any(point.published is not None for point in figure.points):
        handles.append(
            Line2D([], [], color="0.3", linestyle="none", marker="o", fillstyle="none", label="published")
        )
    handles += [
        Line2D([], [], color="0.3", linestyle=_nth(LINES, number), marker=_nth(MARKERS, number), label=name)
        for number, name in enumerate(_styles(figure))
        if name
    ]
    return handles


def _nth(choices: Sequence[str], number: int) -> str:
    """The choice for the thing of this number; they come round."""
    return choices[number % len(choices)]


def _record(point: Point) -> dict[str, Any]:
    found = point.estimate
    return {
        "panel": point.panel,
        "series": point.series,
        "style": point.style,
        "place": point.place,
        "mean": found.mean,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "published": point.published,
    }


_DRAW = {"rows": _draw_rows, "curves": _draw_curves}
