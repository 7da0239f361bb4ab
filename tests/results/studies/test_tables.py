"""Tables T2 to T6 from workspaces: which figure stands in a cell, with which interval, and what is said of gaps."""

import csv
import io

import pytest

from results.files import WorkspaceError
from results.statistics import combined_interval
from results.studies.alignment import study as alignment
from results.studies.alignment.cells import Cell
from results.studies.alignment.layouts import LAYOUTS
from results.studies.alignment.scores import published_scores
from results.studies.alignment.tables import Sources, results_table
from results.studies.estimates import estimate, measured_text
from results.studies.rendering import render
from tests.results.lab import Lab
from tests.results.studies.lab import CELLS, metric_rows, plan_cells, scores_of, study, truth
from workers.context import metric

CELL = Cell("mistral-7b", "beavertails", "harmless", "sft", "qlora", "single")
ORIGINAL = Cell("mistral-7b", "none", "none", "none", "none", "original")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Lab:
    return study(tmp_path_factory.mktemp("tables") / "runs")


def cells_of(text: str, *labels: str) -> list[str]:
    """The cells of the row of a Markdown table that starts with `labels`."""
    for line in text.splitlines():
        cells = [part.strip() for part in line.strip("|").split("|")]
        if cells[: len(labels)] == list(labels):
            return cells[len(labels) :]
    raise AssertionError(f"no row {labels} in:\n{text}")


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_printed_figure_has_a_place(name: str) -> None:
    printed = published_scores()
    placed = {(cell, column.benchmark) for _, column, cell in LAYOUTS[name].places()}
    count = {"T2": 42, "T3": 30, "T4": 128, "T5": 64}
    assert len(placed) == count[name]
    assert all(printed.runs(benchmark, cell) for cell, benchmark in placed)


def test_a_cell_is_the_mean_over_seeds_with_seeds_and_prompts_in_its_interval(finished: Lab) -> None:
    table = alignment.table("T4", finished.workspace)
    text = render(table, "markdown")
    values = [truth(CELL, seed, "bbh") for seed in (0, 1, 2)]
    wanted = combined_interval(values, [0.01] * 3, 100)
    shown = cells_of(text, "BeaverTails", "Mistral-7b", "harmless")[0]
    assert shown == f"{wanted.mean:.3f} ±{wanted.half_width:.3f} (3)"
    assert "BBH SFT" in text and "scale tiny, preset corrected" in text


def test_percent_is_shown_as_percent_and_said_to_be(finished: Lab) -> None:
    text = render(alignment.table("T4", finished.workspace), "markdown")
    mean = sum(truth(CELL, seed, "alpacaeval") for seed in (0, 1, 2)) / 3
    shown = cells_of(text, "BeaverTails", "Mistral-7b", "harmless")[4]
    assert shown.startswith(f"{100 * mean:.3f} ±")
    assert "AlpacaEval: win rate, %." in text


def test_published_figures_stand_in_brackets_on_request(finished: Lab) -> None:
    beside = render(alignment.table("T4", finished.workspace, published=True), "markdown")
    assert cells_of(beside, "BeaverTails", "Mistral-7b", "harmless")[0].endswith("(3) [0.409]")
    assert "In brackets" in beside
    assert "[" not in render(alignment.table("T4", finished.workspace), "markdown")


def test_csv_has_one_line_a_cell_at_full_precision(finished: Lab) -> None:
    text = render(alignment.table("T2", finished.workspace, published=True, shape=True), "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 42
    (row,) = [
        row
        for row in rows
        if row["model"] == "mistral-7b" and row["method"] == "none" and row["benchmark"] == "rt"
    ]
    assert row | {"task": "rt", "n": "1", "planned": "1", "published": "1.255", "length": ""} == row
    assert float(row["mean"]) == pytest.approx(truth(ORIGINAL, 0, "rt"))
    assert float(row["low"]) < float(row["mean"]) < float(row["high"])
    (single,) = [one for one in rows if Cell.of(one) == CELL and one["benchmark"] == "mmlu"]
    values = [float(part.partition("=")[2]) for part in single["values"].split()]
    assert values == pytest.approx([truth(CELL, seed, "mmlu") for seed in (0, 1, 2)], abs=1e-6)


def test_missing_runs_are_counted_and_missing_cells_are_shown(tmp_path) -> None:
    other = CELL._replace(method="dpo")
    lab = study(
        tmp_path / "runs", cells=[CELL, other], skip=[(CELL, 1), *((other, seed) for seed in (0, 1, 2))]
    )
    text = render(alignment.table("T4", lab.workspace), "markdown")
    shown = cells_of(text, "BeaverTails", "Mistral-7b", "harmless")
    assert shown[0].endswith("(2 of 3)")
    assert shown[1] == "missing (0 of 3)"
    assert "8 of 8 planned cells lack runs." in text


def test_rows_without_a_planned_run_are_left_out_unless_published_figures_stand_beside(tmp_path) -> None:
    lab = study(tmp_path / "runs", cells=[CELL])
    text = render(alignment.table("T4", lab.workspace), "markdown")
    assert "Vicuna" not in text and "Left out: 15 rows" in text
    beside = render(alignment.table("T4", lab.workspace, published=True), "markdown")
    assert cells_of(beside, "HH-RLHF", "Vicuna", "helpful")[0].startswith("not planned [")
    assert "Left out" not in beside


def test_a_single_run_has_its_own_error(tmp_path) -> None:
    lab = study(tmp_path / "runs", cells=[CELL], seeds=[4])
    found = estimate(scores_of(lab), "mmlu", CELL)
    assert (found.n, found.df) == (1, 99)
    assert found.half_width == pytest.approx(0.0198, abs=1e-4)
    assert "n = 1: the run's own" in render(alignment.table("T4", lab.workspace), "markdown")


def test_the_last_snapshot_counts_and_not_the_evaluation_for_merges(tmp_path) -> None:
    lab = Lab.at(tmp_path / "runs")
    name = f"{CELL}/s0"
    roles = ["curve@9", "unquantized", "curve@63", "curve@18"]
    lab.plan({name: {**CELL._asdict(), "seed": 0}}, {name: {role: f"{name}/{role}" for role in roles}})
    for role, value in zip(roles, (0.1, 0.9, 0.5, 0.2), strict=True):
        step = int(role.partition("@")[2]) if "@" in role else None
        lab.run(f"{name}/{role}", metric("mmlu", value, stderr=0.01, n=50, step=step, primary=True))
    scores = scores_of(lab)
    assert scores.runs("mmlu", CELL)[0].value == 0.5
    assert scores.runs("mmlu", CELL, apart=True)[0].value == 0.9
    assert [each.value for each in scores.curves("mmlu", CELL)[0]] == [0.1, 0.2, 0.5]


def tiny_rows(value: float, safe: float) -> list:
    return [
        *metric_rows(CELL, 0, ("mmlu", "bbh"), truth, None),
        metric("preference_accuracy", 0.2, metric="accuracy", stderr=0.01, n=40, primary=True),
        metric("preference_accuracy", value, metric="helpful", stderr=0.01, n=40),
        metric("safety", safe, metric="safe", stderr=0.0 if safe in (0, 1) else 0.05, n=64, primary=True),
        metric("safety", 8.5, metric="length", unit="tokens"),
        metric("safety", 0.25, metric="repetition"),
        metric("safety", 0.75, metric="ended"),
    ]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Lab:
    """A store without AlpacaEval and RT, as the embedded world leaves it."""
    lab = Lab.at(tmp_path_factory.mktemp("tiny") / "runs")
    helpful = CELL._replace(preference="helpful")
    for name, safe in zip(plan_cells(lab, [(CELL, 0), (helpful, 0)]), (1.0, 0.5), strict=True):
        lab.run(f"{name}/evaluate", *tiny_rows(0.9, safe))
    return lab


def test_what_stands_in_is_named_in_the_header_and_a_note(tiny: Lab) -> None:
    text = render(alignment.table("T4", tiny.workspace, published=True), "markdown")
    header = text.splitlines()[2]
    assert "safety (for RT) SFT" in header and "helpful pairs (for AlpacaEval) DPO" in header
    assert "RT was not run: safety (task `safety`, share of safe answers" in text
    assert "AlpacaEval was not run: helpful pairs (task `preference_accuracy`" in text
    assert text.count("not comparable with published ones") == 2
    assert cells_of(text, "BeaverTails", "Mistral-7b", "harmless")[4].startswith("0.900 ±")


def test_the_shape_of_judged_answers_stands_beside_on_request(tiny: Lab) -> None:
    text = render(alignment.table("T4", tiny.workspace, shape=True), "markdown")
    assert "safety (for RT) SFT: shape" in text.splitlines()[2]
    assert "8.5, 0.25, 0.75" in cells_of(text, "BeaverTails", "Mistral-7b", "harmless")
    assert "Shape: length in tokens" in text
    assert "shape" not in render(alignment.table("T4", tiny.workspace), "markdown").lower()


def test_answers_that_are_all_safe_have_a_bound(tiny: Lab) -> None:
    """64 of 64: Clopper and Pearson's lower bound is 0.025 ** (1 / 64)."""
    assert measured_text(scores_of(tiny), "rt", CELL) == f"1.000 -{1 - 0.025 ** (1 / 64):.3f} (1)"
    assert "Clopper" in render(alignment.table("T4", tiny.workspace), "markdown")


def test_the_published_figures_alone(finished: Lab) -> None:
    table = results_table("T2", Sources(None, published_scores()))
    assert "0.535" in cells_of(render(table, "markdown"), "Mistral-7b-Instruct", "–", "original")
    assert all(set(record) == {*CELL._fields, "benchmark", "published"} for record in table.records)
    with pytest.raises(ValueError, match="needs a store"):
        results_table("T2", Sources())


def test_a_workspace_without_the_study_says_what_it_holds(tmp_path) -> None:
    lab = Lab.at(tmp_path / "runs")
    with pytest.raises(WorkspaceError, match=r"no experiments of the study 'alignment' here$"):
        alignment.table("T4", lab.workspace)
    lab.plan({"a": {"seed": 0}}, {"a": {"evaluate": "a1"}}, study="quantization")
    with pytest.raises(
        WorkspaceError, match="no experiments of the study 'alignment' here; it holds: quantization"
    ):
        alignment.table("T4", lab.workspace)


def test_two_scales_do_not_make_one_table(tmp_path) -> None:
    lab = Lab.at(tmp_path / "runs")
    tiny, small = (plan_cells(lab, [(CELL, 0)], scale=scale) for scale in ("tiny", "small"))
    lab.run(f"{tiny[0]}/evaluate", *metric_rows(CELL, 0, ["mmlu"], truth, None))
    with pytest.raises(
        WorkspaceError, match=r"several scales or presets \(small/corrected, tiny/corrected\)"
    ):
        alignment.table("T4", lab.workspace)
    assert "scale tiny" in alignment.table("T4", lab.workspace, tiny).title
    assert small[0] not in tiny


def test_all_published_cells_are_known_by_the_layouts() -> None:
    assert {cell for layout in LAYOUTS.values() for _, _, cell in layout.places()} == set(CELLS)
