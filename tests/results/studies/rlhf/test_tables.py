"""Tables of the LoRA PPO study: win rates, resources, regularizers, factuality, settings."""

import csv
import io

import pytest

from results.statistics import combined_interval
from results.studies.rendering import render
from results.studies.rlhf import study as rlhf
from results.studies.rlhf.cells import SUPERVISED, Cell, arm
from tests.results.lab import Lab
from tests.results.studies.rlhf.lab import ARMS, SEEDS, study, trained, win
from tests.results.studies.workspaces import cells_of, finish, plan_runs
from workers.specs.ppo import PPO, PpoRecipe
from workers.stage import Stage

KL = ("LoRA PPO", "KL", "weak")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Lab:
    cells = [*ARMS, Cell(SUPERVISED)]
    return study(tmp_path_factory.mktemp("tables") / "runs", cells, facts=True)


def shown(lab: Lab, name: str, published: bool = False) -> str:
    return render(rlhf.table(name, lab.workspace, published=published), "markdown")


def test_win_rates_beside_those_of_other_systems(finished: Lab) -> None:
    text = shown(finished, "T1", published=True)
    wanted = combined_interval([100 * win(arm("kl"), seed, 50) for seed in SEEDS], [2.0] * 3, 48)
    rate, legacy, draws, judged, simulated, *_ = cells_of(text, *KL)
    assert rate == f"{wanted.mean:.1f} ±{wanted.half_width:.1f} (3) [47.6*]"
    assert legacy.startswith(f"{wanted.mean - 1:.1f} ±")
    assert (draws, judged, simulated) == ("3 ±0 (3) [not printed]", "48 ±0 (3) [not printed]", "not printed")
    assert cells_of(text, "SFT", "–", "–")[0].startswith("31.0 ±4.0 (1) [37*]")
    assert cells_of(text, "GPT-4", "–", "–")[4:7] == ["79", "69.8", "80.43"]
    assert "judges that no longer exist" in text


def test_a_store_alone_has_no_columns_of_printed_figures(finished: Lab) -> None:
    table = rlhf.table("T1", finished.workspace)
    assert list(table.header[3:]) == ["win rate", "win rate, draws lost", "draws", "judged"]
    assert len(table.rows) == len(ARMS) + 1


def test_resources_of_training(finished: Lab) -> None:
    text = shown(finished, "T2", published=True)
    parameters, seconds, hours, memory, gpus, share = cells_of(text, *KL)
    assert (parameters, seconds) == ("24000 ±0 (3) [not printed]", "2.000 ±0.000 (3) [not printed]")
    assert (hours[:5], memory[:4], gpus, share) == ("0.056", "0.00", "not printed", "not printed")
    assert cells_of(text, "LoRA PPO", "all", "–")[2:] == [
        "not planned [10*]",
        "not planned [not printed]",
        "2",
        "0.2",
    ]
    assert "SFT" not in text


def mean_win(step: int) -> str:
    return f"{sum(100 * win(arm('kl'), seed, step) for seed in SEEDS) / len(SEEDS):.1f}"


def test_regularizers_by_their_best_and_their_end(finished: Lab) -> None:
    best, middle, last, benign, kl, score, entropy, length = cells_of(shown(finished, "T3"), *KL)
    assert best.split(" ")[0] == middle.split(" ")[0] == mean_win(30)
    assert last.split(" ")[0] == mean_win(50)
    assert (benign, entropy) == ("missing (0 of 3)", "missing (0 of 3)")
    assert (kl.split(" ")[0], score, length) == ("0.501", "2.900 ±0.000 (3)", "12.0 ±0.0 (3)")


def test_factuality_after_beside_before(finished: Lab) -> None:
    score, _, before, facts, facts_before, answered = cells_of(shown(finished, "T4"), *KL)
    assert (score.split(" ")[0], before.split(" ")[0]) == ("60.0", "80.0")
    assert (facts.split(" ")[0], facts_before.split(" ")[0], answered) == ("9.0", "6.0", "missing (0 of 3)")


def test_csv_has_the_printed_standard_errors(finished: Lab) -> None:
    text = render(rlhf.table("T1", finished.workspace, published=True), "csv")
    rows = {
        (row["method"], row["regularizer"], row["benchmark"]): row
        for row in csv.DictReader(io.StringIO(text))
    }
    assert rows["gpt4", "none", "human"]["published_stderr"] == "1.6"
    assert rows["ppo", "jensen_shannon", "win_rate"]["n"] == "3"
    assert rows["ppo", "jensen_shannon", "win_rate"]["remark"] == "read from a figure"


def run_with(lab: Lab, name: str, settings: dict, preset: str, kl: float) -> None:
    stage = Stage.create(PPO, PpoRecipe.model_validate(settings))
    stage.write(lab.workspace)
    levels = {"method": "ppo", "regularizer": "kl", "coefficient": "weak", "reward_data": "human", "seed": 0}
    lab.plan({name: levels}, {name: {"ppo": stage.id}}, study="rlhf", preset=preset)
    rows = [{**row, "value": kl} if row["task"] == "true_kl" else row for row in trained(arm("kl"), 0)]
    finish(lab, stage.id, rows)


def test_what_each_departure_changes_across_presets(tmp_path) -> None:
    lab = Lab.at(tmp_path / "runs")
    run_with(lab, "plain", {}, "corrected", 0.5)
    run_with(lab, "flawed", {"training": {"adapter_dtype": "bfloat16"}}, "as-published", 0.1)
    text = shown(lab, "T5")
    assert cells_of(text, *KL)[0] == "0.500 ±? (1)"
    assert cells_of(text, "LoRA PPO, adapter_dtype=bfloat16", "KL", "weak")[0] == "0.100 ±? (1)"
    assert "preset as-published, corrected" in text


def test_without_departures_there_is_nothing_to_compare(finished: Lab) -> None:
    assert rlhf.table("T5", finished.workspace).rows == []


@pytest.mark.parametrize("name", rlhf.TABLES)
def test_a_store_that_has_hardly_begun_makes_every_table(tmp_path, name: str) -> None:
    lab = Lab.at(tmp_path / "runs")
    plan_runs(lab, "rlhf", [(arm("kl"), 0)], ["ppo"], keep=("regularizer",))
    assert "missing (0 of 1)" in shown(lab, name) or name == "T5"
