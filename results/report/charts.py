"""A study's figure as data for the page, which draws it; a figure of an unknown kind becomes a picture."""

import base64
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from results.studies.drawing import Figure, Point

DRAWN = ("rows", "curves")
"""The kinds of figure that the page itself can draw."""


def chart(figure: Figure) -> dict[str, Any]:
    """What the page draws: names of panels, series and rows, and points that refer to them by position."""
    common = {"title": figure.title, "notes": list(figure.notes), "csv": figure.as_csv()}
    if figure.kind not in DRAWN:
        return {**common, "kind": "picture", "source": _picture(figure)}
    return {
        **common,
        "kind": figure.kind,
        "panels": list(figure.panels),
        "series": list(figure.series),
        "rows": list(figure.rows),
        "across": figure.across,
        "points": [_point(figure, one) for one in figure.points],
    }


def _point(figure: Figure, one: Point) -> dict[str, Any]:
    found = one.estimate
    place = list(figure.rows).index(str(one.place)) if figure.kind == "rows" else float(one.place)
    values = {"mean": found.mean, "low": found.low, "high": found.high, "published": one.published}
    known = {name: value for name, value in values.items() if value is not None and isfinite(value)}
    return {
        "panel": list(figure.panels).index(one.panel),
        "series": list(figure.series).index(one.series),
        "place": place,
        "n": found.n,
        **({"style": one.style} if one.style else {}),
        **known,
    }


def _picture(figure: Figure) -> str:
    """The figure as matplotlib draws it, in a form that an image can have as its source."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "figure.svg"
        figure.save(path)
        return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
