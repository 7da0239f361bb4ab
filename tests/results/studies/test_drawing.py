"""How figures are laid out and drawn, whatever the study."""

import re

import pytest

from results.statistics import Interval
from results.studies.drawing import COLOURS, Figure, Point

ESTIMATE = Interval(0.5, 0.4, 0.6, 3)


def rows(panels: int, notes: int = 0) -> Figure:
    names = [f"panel {number}" for number in range(panels)]
    points = [Point(panel, series, "row", ESTIMATE, 0.3) for panel in names for series in ("a", "b")]
    return Figure("Title", "rows", names, ["a", "b"], points, ["row"], columns=3, notes=["a note"] * notes)


def drawn(figure: Figure, path) -> str:
    figure.save(path / "figure.svg")
    return (path / "figure.svg").read_text()


@pytest.mark.parametrize("panels", [1, 3, 5])
def test_every_panel_is_drawn_and_places_left_over_are_empty(tmp_path, panels: int) -> None:
    text = drawn(rows(panels), tmp_path)
    assert [f"panel {number}<" in text for number in range(panels)] == [True] * panels
    assert f"panel {panels}<" not in text
    assert len(set(re.findall(r'id="axes_(\d+)"', text))) == panels


def test_series_have_their_own_colours_and_all_notes_stand_below(tmp_path) -> None:
    text = drawn(rows(1, notes=2), tmp_path)
    assert all(colour.lower() in text.lower() for colour in COLOURS[:2])
    assert COLOURS[2].lower() not in text.lower()
    assert text.count(">a note<") == 2
    assert ">Title<" in text


def test_notes_make_a_figure_taller() -> None:
    assert rows(1, notes=4)._size()[1] > rows(1)._size()[1]
    assert rows(5)._size()[1] > rows(3)._size()[1]
    assert rows(3)._size()[0] > rows(1)._size()[0]


def curve(styles: tuple[str, ...]) -> Figure:
    points = [Point("p", "a", step, ESTIMATE, style=style) for style in styles for step in (10, 20)]
    return Figure("Curve", "curves", ["p"], ["a"], points, across="steps")


def test_kinds_of_line_are_in_the_legend_where_there_are_several(tmp_path) -> None:
    text = drawn(curve(("harmless", "helpful")), tmp_path)
    assert ">harmless<" in text and ">helpful<" in text and ">steps<" in text


def test_a_figure_without_points_is_still_one(tmp_path) -> None:
    assert ">Empty<" in drawn(Figure("Empty", "curves", ["p"], ["a"], []), tmp_path)


def test_the_data_of_a_curve() -> None:
    assert curve(("harmless",)).as_csv().splitlines() == [
        "panel,series,style,place,mean,low,high,n,published",
        "p,a,harmless,10,0.5,0.4,0.6,3,",
        "p,a,harmless,20,0.5,0.4,0.6,3,",
    ]
