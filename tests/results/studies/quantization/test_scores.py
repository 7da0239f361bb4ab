"""Scores of the quantization study: divergence, controls and gaps of a store; what is known of the paper."""

import csv
from math import inf
from pathlib import Path

import pytest

from results.studies.cells import level
from results.studies.published import FOLDER, published_rows
from results.studies.quantization.cells import ARMS, PUBLISHED_ARMS, Cell, arm, labels
from results.studies.quantization.scores import Scores, control, published_scores
from results.studies.scores import Score
from tests.results.studies.quantization.lab import SEEDS, TIED, UNTIED, scores_of, study, world
from workers.context import metric

SHARED = Path(__file__).parents[5] / "shared" / "studies" / "quantization_published.csv"


def test_a_row_of_levels_is_a_cell_whatever_its_types() -> None:
    row = {
        "model": "gpt2",
        "arm": None,
        "rounded": "gradient",
        "bits": 8.0,
        "floor": 1e-12,
        "axis": float("nan"),
    }
    assert Cell.of(row) == Cell("gpt2", "none", "gradient", bits="8", floor="1e-12")
    assert labels(Cell.of(row)) == ("ablation", "gradient/8/1e-12")
    assert [level(value) for value in (4, "4", None, float("nan"))] == ["4", "4", "none", "none"]


def test_gaps_are_to_the_baseline_of_the_same_seed(tmp_path) -> None:
    scores = scores_of(study(tmp_path / "runs", ["baseline", "v8_row"]))
    gaps = scores.runs("gap", arm("v8_row"))
    wanted = {seed: world(arm("v8_row"), seed) - world(arm("baseline"), seed) for seed in SEEDS}
    assert {seed: run.value for seed, run in gaps.items()} == pytest.approx(wanted)
    assert not scores.runs("gap", arm("baseline"))


def test_the_control_has_the_size_of_the_arm(tmp_path) -> None:
    sizes = {"w8_row": UNTIED, "baseline_untied": UNTIED, "m8_row": TIED}
    arms = ["baseline", "baseline_untied", "w8_row", "m8_row"]
    scores = scores_of(study(tmp_path / "runs", arms, parameters=sizes))
    controls = {name: control(scores, arm(name)) for name in arms}
    assert controls == {
        "baseline": None,
        "baseline_untied": None,
        "w8_row": arm("baseline_untied"),
        "m8_row": arm("baseline"),
    }


def test_an_untied_arm_has_no_control_where_only_a_tied_baseline_was_run(tmp_path) -> None:
    scores = scores_of(study(tmp_path / "runs", ["baseline", "w8_row"], parameters={"w8_row": UNTIED}))
    assert control(scores, arm("w8_row")) is None
    assert not scores.runs("gap", arm("w8_row"))


def test_a_run_that_diverged_is_worse_than_any_and_keeps_its_step(tmp_path) -> None:
    lab = study(tmp_path / "runs", ["baseline", "a4_row"], diverged={("a4_row", 42): 120})
    scores = scores_of(lab)
    assert scores.runs("loss", arm("a4_row"))[42] == Score(inf, step=120)
    assert {seed: run.value for seed, run in scores.runs("diverged", arm("a4_row")).items()} == {
        42: 1.0,
        1337: 0.0,
        2024: 0.0,
    }
    assert {run.value for run in scores.runs("reached", arm("a4_row")).values()} == {120, 250}
    assert scores.runs("gap", arm("a4_row"))[42].value == inf


def test_what_was_measured_early_and_late_is_a_line(tmp_path) -> None:
    def outliers(cell: Cell, seed: int):
        early, late = (metric("outliers", value, metric="channels", n=9, primary=True) for value in (2, 5))
        return [{**early, "step": 25}, late]

    scores = scores_of(study(tmp_path / "runs", ["baseline"], more=outliers, seeds=[42]))
    (line,) = scores.curves("outliers", arm("baseline")).values()
    assert [(each.step, each.value) for each in line] == [(25, 2), (250, 5)]
    assert scores.runs("outliers", arm("baseline"))[42].value == 5


@pytest.fixture(scope="module")
def published() -> Scores:
    return published_scores()


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        ("baseline", (34.32, 39.94, 35.13, 44.03, 34.8)),
        ("unidentified-per-channel", (35.94, 42.43, 34.81, 43.47)),
        ("unidentified-per-column", (34.45, 40.15, 35.23, 44.11)),
    ],
)
def test_known_perplexities_are_those_stated(published: Scores, name: str, stated: tuple[float, ...]) -> None:
    sets = ("wikitext2", "wikitext103", "ptb", "lm1b", "lambada")
    found = [published.runs(each, arm(name)) for each in sets]
    assert tuple(runs[0].value for runs in found if runs) == stated
    remark = published.remarks["wikitext2", arm(name)]
    assert remark.startswith("a constant of" if name == "baseline" else "second-hand")


def test_known_sizes_and_cuts_are_those_stated(published: Scores) -> None:
    sizes = {(cell.model, cell.arm): runs[0].value for cell, runs in published.last["parameters"].items()}
    assert sizes == {
        ("gpt2", "baseline"): 124_445_184,
        ("gpt2", "baseline_untied"): 163_047_936,
        ("llama", "baseline"): 198_277_760,
    }
    cuts = {cell.arm: runs[0].value for cell, runs in published.last["reached"].items()}
    assert cuts == {"a4_row": 37_000, "a4_tensor": 20_000}
    assert "inferred" in published.remarks["diverged", arm("a4_row")]


def test_settings_are_those_stated() -> None:
    rows = {row["metric"]: float(row["value"]) for row in published_rows("quantization")}
    assert rows["tokens_per_step"] * rows["train_steps"] == rows["train_tokens"] == 512 * 1024 * 300_000
    assert rows["gpu_hours"] == pytest.approx(rows["wall_clock"] * 24 * 4)
    assert (rows["eval_loss_window_low"], rows["eval_loss_window_high"]) == (2.85, 3.1)
    assert rows["spike_replacement_threshold"] == 5.5
    assert {row["certainty"] for row in published_rows("quantization")} == {
        "verified",
        "second-hand",
        "recalled",
    }


@pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is not here")
def test_the_figures_are_the_shared_ones() -> None:
    with SHARED.open(encoding="utf-8", newline="") as stream:
        assert list(csv.DictReader(stream)) == published_rows("quantization")
    assert (FOLDER / "quantization.csv").is_file()


def test_twenty_arms_were_published() -> None:
    assert len(PUBLISHED_ARMS) == 20
    assert (PUBLISHED_ARMS[-1], len(ARMS)) == ("w8a8g8", 27)
