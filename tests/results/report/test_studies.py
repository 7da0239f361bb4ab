"""The parts of a report that studies give: one a scale and preset, one more for what compares presets."""

import sys
from pathlib import Path

import pytest

from results.files import WorkspaceError
from results.report import studies
from results.report.charts import chart
from results.report.studies import Part, findings_by_statement, parts_of
from results.statistics import Interval
from results.studies.drawing import Figure, Point
from results.studies.rendering import Table
from tests.results.lab import Lab
from tests.results.report.lab import source


class Study:
    """T5 compares presets; T1 is of one alone."""

    TABLES, FIGURES = ("T1", "T5"), ()

    @staticmethod
    def table(name, place, chosen, published) -> Table:
        presets = {one[0] for one in chosen}
        if (name == "T5") != (len(presets) == 2):
            raise WorkspaceError(f"{name}: not of {sorted(presets)}")
        return Table(name, ["n"], [[str(len(chosen))]])

    @staticmethod
    def findings(place, chosen, published) -> tuple[None, str]:
        raise WorkspaceError("no figures")


@pytest.fixture
def parts(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(studies, "STUDIES", {"alignment": "toy_study"})
    monkeypatch.setitem(sys.modules, "toy_study", Study)
    lab = Lab.at(tmp_path)
    for preset, count in (("corrected", 2), ("as-published", 1)):
        runs = {f"{preset}{number}": {"seed": number} for number in range(count)}
        lab.plan(runs, {name: {"train": name} for name in runs}, preset=preset, created=float(count))
    lab.plan({"other": {"seed": 0}}, {"other": {"train": "other"}}, study="unknown", created=9.0)
    return list(parts_of(source(lab.workspace)))


def test_one_part_a_preset_and_one_for_what_compares_them(parts) -> None:
    shown = [(part.study, part.preset, [(name, table.rows) for name, table in part.tables]) for part in parts]
    assert shown == [
        ("alignment", "as-published", [("T1", [["1"]])]),
        ("alignment", "corrected", [("T1", [["2"]])]),
        ("alignment", "as-published and corrected", [("T5", [["3"]])]),
    ]


def test_what_cannot_be_made_of_one_preset_is_said_and_of_both_taken_for_granted(parts) -> None:
    assert parts[0].left_out == ["T5: not of ['a']", "findings: no figures"]
    assert parts[2].left_out == []


def test_findings_of_both_sources_stand_together_and_are_counted() -> None:
    records = [
        {"finding": name, "statement": "s", "source": place, "verdict": verdict, "tests": []}
        for place, verdicts in (("store", ("fails", "holds", "not testable")), ("published", ("holds",) * 3))
        for name, verdict in zip(("F1", "F2", "F3"), verdicts, strict=True)
    ]
    found = findings_by_statement(records)
    assert [one["name"] for one in found] == ["F1", "F2", "F3"]
    assert (found[0]["store"]["verdict"], found[0]["published"]["verdict"]) == ("fails", "holds")
    assert Part("s", "w", "tiny", "p", findings=found).tally == [
        ("holds", 1),
        ("fails", 1),
        ("not testable", 1),
    ]


def test_a_figure_as_data_has_what_is_known_and_nothing_else() -> None:
    points = [
        Point("p", "s", "b", Interval(0.5, 0.4, 0.6, 3), 0.45),
        Point("p", "s", "a", Interval(float("nan"), float("nan"), float("nan"), 0), 0.3),
    ]
    found = chart(Figure("title", "rows", ["p"], ["s"], points, ["a", "b"], notes=["note"]))
    assert found["points"] == [
        {
            "panel": 0,
            "series": 0,
            "place": 1,
            "n": 3,
            "mean": 0.5,
            "low": 0.4,
            "high": 0.6,
            "published": 0.45,
        },
        {"panel": 0, "series": 0, "place": 0, "n": 0, "published": 0.3},
    ]
    assert found["notes"] == ["note"] and found["csv"].startswith("panel,series")


def test_a_figure_of_a_kind_that_the_page_cannot_draw_is_a_picture(monkeypatch) -> None:
    figure = Figure(
        "title", "curves", ["p"], ["s"], [Point("p", "s", 1, Interval(1, 0, 2, 2))], across="step"
    )
    monkeypatch.setattr("results.report.charts.DRAWN", ("rows",))
    found = chart(figure)
    assert found["kind"] == "picture" and found["source"].startswith("data:image/svg+xml;base64,")
