"""Figures: which points they hold, what is drawn of them, and the data behind them."""

import csv
import io
from math import nan

import pytest

from results.files import WorkspaceError
from results.statistics import Interval, mean_interval
from results.studies.alignment import study as alignment
from results.studies.alignment.cells import Cell
from results.studies.drawing import Figure, Point
from tests.results.lab import Lab
from tests.results.studies.lab import CELLS, metric_rows, plan_cells, study, truth
from workers.specs.dpo import DPO
from workers.specs.sft import SFT
from workers.stage import Stage

SINGLE = Cell("mistral-7b", "beavertails", "harmless", "sft", "qlora", "single")
STEPS = (10, 20, 40)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Lab:
    cells = [cell for cell in CELLS if cell.variant == "single"]
    return study(tmp_path_factory.mktemp("figures") / "runs", cells=cells, seeds=(0, 1))


def records(figure: Figure) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(figure.as_csv())))


@pytest.mark.parametrize(
    ("name", "rows", "series", "points"),
    [("F1", 8, 2, 64), ("F4", 8, 2, 64), ("F5", 8, 2, 64), ("F6", 16, 2, 128)],
)
def test_a_comparison_has_a_point_for_each_cell_and_benchmark(
    finished: Lab, name: str, rows: int, series: int, points: int
) -> None:
    figure = alignment.figure(name, finished.workspace, published=True)
    measured = [point for point in figure.points if point.estimate.n]
    assert (len(figure.rows), len(figure.series), len(measured)) == (rows, series, points)
    assert all(point.published is not None and point.estimate.known for point in measured)


def test_a_point_is_the_cell_of_the_table(finished: Lab) -> None:
    figure = alignment.figure("F4", finished.workspace)
    (point,) = [
        one
        for one in figure.points
        if (one.panel, one.place, one.series) == ("BBH", "Mistral-7b, harmless", "SFT")
    ]
    assert point.estimate.mean == pytest.approx(sum(truth(SINGLE, seed, "bbh") for seed in (0, 1)) / 2)
    assert point.published is None


def test_a_benchmark_that_was_not_run_has_a_panel_that_says_so(finished: Lab) -> None:
    assert alignment.figure("F1", finished.workspace).panels[-1] == "Red-Instruct: no data"


def test_published_values_stand_alone_and_lack_red_instruct() -> None:
    figure = alignment.figure("F1", None)
    assert list(figure.panels) == ["BBH", "MMLU", "AlpacaEval", "RT"]
    assert {row["n"] for row in records(figure)} == {"0"}
    assert sum(row["published"] != "" for row in records(figure)) == 64


@pytest.mark.parametrize("name", ["F2", "F3"])
def test_curves_are_not_published(name: str) -> None:
    with pytest.raises(WorkspaceError, match="prints no values"):
        alignment.figure(name, None)


def test_nothing_measured_is_a_message(tmp_path) -> None:
    lab = Lab.at(tmp_path / "runs")
    plan_cells(lab, [(SINGLE, 0)])
    with pytest.raises(WorkspaceError, match="F4: none of the experiments that it shows was measured yet"):
        alignment.figure("F4", lab.workspace)
    with pytest.raises(WorkspaceError, match="F2: no experiment of it was measured along its training"):
        alignment.figure("F2", lab.workspace)


CURVE = {10: 0.4, 20: 0.5, 40: 0.3}


@pytest.fixture(scope="module")
def curves(tmp_path_factory) -> Lab:
    """Two seeds of an SFT and a DPO cell, the second starting at half; batches of 8 and 4."""
    lab = Lab.at(tmp_path_factory.mktemp("curves") / "runs")
    cells = [SINGLE, SINGLE._replace(method="dpo")]
    stages = {
        cell.method: Stage.create(kind, kind.recipe.model_validate({"training": {"batch_size": size}}))
        for cell, kind, size in zip(cells, (SFT, DPO), (8, 4), strict=True)
    }
    levels, pipelines = {}, {}
    for cell in cells:
        stages[cell.method].write(lab.workspace)
        for seed in (0, 1):
            name = f"{cell}/s{seed}"
            levels[name] = {**cell._asdict(), "seed": seed}
            own = {f"curve@{step}": f"{name}/curve@{step}" for step in STEPS}
            pipelines[name] = {cell.method: stages[cell.method].id, **own}
    lab.plan(levels, pipelines)
    for cell in cells:
        for seed in (0, 1):
            for step in STEPS:
                value = CURVE[step] * (1 + seed)
                rows = metric_rows(cell, seed, ["mmlu", "rt"], lambda *_, value=value: value, step)  # type: ignore[misc]
                lab.run(f"{cell}/s{seed}/curve@{step}", *rows)
    return lab


def line(figure: Figure, panel: str, series: str) -> list[Point]:
    return [point for point in figure.points if (point.panel, point.series) == (panel, series)]


def test_scores_over_the_samples_seen(curves: Lab) -> None:
    points = line(alignment.figure("F2", curves.workspace), "Mistral-7b: MMLU", "BeaverTails")
    assert [point.place for point in points] == [80, 160, 320]
    assert [point.estimate.mean for point in points] == pytest.approx([0.6, 0.75, 0.45])
    assert {point.style for point in points} == {"harmless"}


def test_changes_are_per_cent_of_each_seeds_first_snapshot_and_of_toxicity_the_difference(
    curves: Lab,
) -> None:
    figure = alignment.figure("F3", curves.workspace)
    per_cent = line(figure, "Mistral-7b: MMLU, %", "DPO")
    assert [point.place for point in per_cent] == [40, 80, 160]
    assert [point.estimate.mean for point in per_cent] == pytest.approx([0.0, 25.0, -25.0])
    assert per_cent[1].estimate.half_width == pytest.approx(0.0, abs=1e-9)
    logits = line(figure, "Mistral-7b: RT, difference", "SFT")
    wanted = mean_interval([-0.1, -0.2])
    assert logits[2].estimate.mean == pytest.approx(wanted.mean)
    assert logits[2].estimate.half_width == pytest.approx(wanted.half_width)


def test_a_seed_that_starts_at_nothing_has_no_per_cent(tmp_path) -> None:
    lab = Lab.at(tmp_path / "runs")
    for name, first in zip(plan_cells(lab, [(SINGLE, 0), (SINGLE, 1)], STEPS[:2]), (0.0, 0.5), strict=True):
        for step, value in zip(STEPS, (first, 0.75), strict=False):
            rows = metric_rows(SINGLE, 0, ["bbh"], lambda *_, value=value: value, step)  # type: ignore[misc]
            lab.run(f"{name}/curve@{step}", *rows)
    points = line(alignment.figure("F3", lab.workspace), "Mistral-7b: BBH, %", "SFT")
    assert [(point.estimate.n, point.estimate.mean) for point in points] == [(1, 0.0), (1, 50.0)]


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_a_figure_is_drawn_as_its_suffix_says(finished: Lab, tmp_path, suffix: str) -> None:
    path = tmp_path / f"figure{suffix}"
    alignment.figure("F4", finished.workspace, published=True).save(path)
    starts = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    assert path.read_bytes().startswith(starts[suffix])
    if suffix == ".svg":
        assert ">published<" in path.read_text()


def test_equal_data_give_equal_bytes_with_every_text_in_them(curves: Lab, tmp_path) -> None:
    for name in ("a.svg", "b.svg"):
        alignment.figure("F3", curves.workspace).save(tmp_path / name)
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    for shown in (
        "F3: change since the first snapshot",
        "samples seen",
        "harmless",
        "Mistral-7b: RT, difference",
    ):
        assert shown in text


def test_a_figure_draws_what_it_knows(tmp_path) -> None:
    unknown = Interval(0.5, nan, nan, 1)
    points = [Point("p", "s", "r", unknown), Point("p", "s", "q", Interval(nan, nan, nan, 0))]
    figure = Figure("t", "rows", ["p"], ["s"], points, ["r", "q"])
    figure.save(tmp_path / "t.svg")
    assert records(figure)[0] | {"mean": "0.5", "low": "", "n": "1"} == records(figure)[0]
