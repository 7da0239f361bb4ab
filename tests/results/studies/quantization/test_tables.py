"""Tables of the quantization study: what a cell says of finished, missing and diverged runs."""

import csv
import io

import pytest

from results.statistics import combined_interval, mean_interval
from results.studies.quantization import study as quantization
from results.studies.quantization.cells import PUBLISHED_ARMS, Cell, arm
from results.studies.rendering import render
from tests.results.lab import Lab
from tests.results.studies.quantization.lab import SEEDS, pretrained, study, world
from tests.results.studies.workspaces import cells_of, finish, plan_runs
from workers.context import metric

W8, BASELINE = ("W", "8 bits per channel"), ("–", "baseline")


def more(cell: Cell, seed: int):
    index = SEEDS.index(seed)
    rows = [
        metric("perplexity_wikitext2", 40.0 + index, metric="legacy"),
        metric("perplexity_wikitext2", 30.0 + index, metric="token", primary=True),
        metric("mnli", 0.35, metric="accuracy", stderr=0.01, n=100, primary=True),
        metric("mnli", 0.02, metric="draw_deviation"),
    ]
    projected = [metric("projected", 102_900, metric="weight_bytes")]
    return rows if cell.arm == "baseline" else [*rows, *projected]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Lab:
    ends = {("a4_row", 42): 120, ("a4_tensor", 42): 90, ("a4_tensor", 1337): 80, ("a4_tensor", 2024): 70}
    ablation = Cell("gpt2", "none", "gradient", bits="8", axis="row")
    arms = ["baseline", "w8_row", "a4_row", "a4_tensor", ablation]
    return study(tmp_path_factory.mktemp("tables") / "runs", arms, diverged=ends, more=more)


def shown(lab: Lab, name: str, published: bool = False) -> str:
    return render(quantization.table(name, lab.workspace, published=published), "markdown")


def test_a_loss_is_the_mean_over_seeds_and_the_gap_is_paired(finished: Lab) -> None:
    text = shown(finished, "T-loss")
    wanted = combined_interval([world(arm("w8_row"), seed) for seed in SEEDS], [0.01] * 3, 96)
    loss, gap, unquantized, weights, *_ = cells_of(text, *W8)
    assert loss == f"{wanted.mean:.3f} ±{wanted.half_width:.3f} (3)"
    paired = mean_interval([world(arm("w8_row"), seed) - world(arm("baseline"), seed) for seed in SEEDS])
    assert gap == f"{paired.mean:.3f} ±{paired.half_width:.3f} (3)"
    assert (unquantized, weights) == ("missing (0 of 3)", "102.9 ±0.0 (3)")
    assert "All arithmetic is simulated" in text


def test_a_diverged_arm_stays_in_the_table_with_its_steps(finished: Lab) -> None:
    text = shown(finished, "T-loss")
    loss, gap, *_ = cells_of(text, "A", "4 bits per tensor")
    assert loss == gap == "diverged at 70, 80, 90 (3 of 3)"
    assert cells_of(text, "A", "4 bits per token")[0].endswith("(2 of 3); diverged at 120")


def test_every_published_arm_has_a_row_and_whatever_else_was_planned(finished: Lab) -> None:
    table = quantization.table("T-ppl", finished.workspace, published=True)
    assert len(table.rows) > len(PUBLISHED_ARMS)
    assert ["ablation", "gradient/8/row"] in [row[:2] for row in table.rows]
    found = cells_of(render(table, "markdown"), "m", "4 bits per tensor")
    assert len(found) == 5 and all(cell.startswith("not planned [") for cell in found)


def test_perplexity_by_window_and_by_token_have_tables_of_their_own(finished: Lab) -> None:
    by_window = cells_of(shown(finished, "T-ppl", published=True), *BASELINE)
    assert by_window[0] == "missing (0 of 3) [39.94*]"
    assert by_window[1].startswith("41.00 ±") and by_window[1].endswith("(3) [34.32*]")
    assert cells_of(shown(finished, "T-ppl-token"), *BASELINE)[1].startswith("31.00 ±")
    printed = cells_of(shown(finished, "T-ppl", published=True), "?", "per channel, unidentified")
    assert printed[0] == "not planned [42.43*]"


def test_few_shot_accuracy_and_its_spread_over_draws(finished: Lab) -> None:
    assert cells_of(shown(finished, "T-glue"), *W8)[0].startswith("0.350 ±")
    assert cells_of(shown(finished, "T-glue-draws"), *W8)[0] == "0.020 ±0.000 (3)"


def test_csv_says_what_each_figure_is(finished: Lab) -> None:
    text = render(quantization.table("T-ppl", finished.workspace, published=True), "csv")
    rows = {(row["arm"], row["benchmark"]): row for row in csv.DictReader(io.StringIO(text))}
    row = rows["baseline", "wikitext2"]
    assert (row["task"], row["n"], row["planned"], row["published"]) == (
        "perplexity_wikitext2",
        "3",
        "3",
        "34.32",
    )
    assert row["values"] == "s42=40 s1337=41 s2024=42"
    assert row["remark"].startswith("a constant of the authors' plotting code")


def test_simulated_and_measured_sizes_never_share_a_column() -> None:
    from results.studies.quantization.benchmarks import benchmarks

    for name, one in benchmarks().items():
        measured = one.measures.task.startswith("measured")
        assert ("measured" in one.title) == measured, name
        assert ("projected" in one.title) == (one.measures.task == "projected" and name != "integer_products")


def test_the_llama_arms_have_a_table_of_their_own(tmp_path) -> None:
    lab = Lab.at(tmp_path / "runs")
    runs = [(arm(name, "llama"), 42) for name in ("baseline", "w8a8")]
    for (cell, _), name in zip(runs, plan_runs(lab, "quantization", runs, ["pretrain"]), strict=True):
        finish(lab, f"{name}/pretrain", pretrained(2.0 + 0.5 * (cell.arm == "w8a8")))
    text = shown(lab, "T-llama")
    assert cells_of(text, "W, A", "8 bits")[:2] == ["2.500 ±0.020 (1)", "0.500 ±? (1)"]
    assert "W, A, G" not in text and "Left out: 1 row of which nothing is planned" in text
    assert cells_of(shown(lab, "T-loss"), *BASELINE)[0] == "not planned"


@pytest.mark.parametrize("name", quantization.TABLES)
def test_an_empty_store_makes_every_table(tmp_path, name: str) -> None:
    lab = Lab.at(tmp_path / "runs")
    plan_runs(lab, "quantization", [(arm("baseline"), 42)], ["pretrain"])
    assert "missing (0 of 1)" in shown(lab, name) or name == "T-llama"
