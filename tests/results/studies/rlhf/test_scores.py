"""Scores of the LoRA PPO study: checkpoints, true KL and resources of a store; the published figures."""

import csv
from pathlib import Path

import pytest

from results.studies.published import published_rows
from results.studies.rlhf.cells import FULL, SUPERVISED, Cell, arm, labels, ordered, printed_arm, short
from results.studies.rlhf.resources import _put
from results.studies.rlhf.scores import Scores, published_scores
from results.studies.rlhf.settings import departures
from tests.results.lab import Lab
from tests.results.studies.rlhf.lab import CHECKPOINTS, SEEDS, scores_of, study, true_kl, win
from tests.results.studies.workspaces import plan_runs
from workers.specs.ppo import PPO, PpoRecipe
from workers.stage import Stage

SHARED = Path(__file__).parents[5] / "shared" / "studies" / "rlhf_published.csv"


def test_a_store_from_before_other_methods_is_one_of_ppo() -> None:
    row = {"regularizer": "kl", "coefficient": "weak", "reward_data": "human", "seed": 0}
    assert Cell.of(row) == arm("kl")
    rloo = Cell("rloo", coefficient="weak", reward_data="human")
    assert Cell.of({**row, "method": "rloo", "regularizer": None}) == rloo
    assert Cell.of({**row, "regularizer": "none", "coefficient": None}) == arm("none")


def test_cells_for_a_reader_in_the_order_of_arms() -> None:
    cells = [Cell(SUPERVISED), arm("none"), arm("kl", "strong"), arm("kl"), Cell("rloo", reward_data="human")]
    assert [short(cell) for cell in ordered(cells)] == ["KL, weak", "KL, strong", "none", "RLOO", "SFT"]
    assert labels(arm("kl")._replace(reward_data="noisy", settings="padding=counted")) == (
        "LoRA PPO, noisy rewards, padding=counted",
        "KL",
        "weak",
    )


@pytest.fixture(scope="module")
def scores(tmp_path_factory) -> Scores:
    cells = [arm("kl"), Cell(SUPERVISED)]
    return scores_of(study(tmp_path_factory.mktemp("scores") / "runs", cells))


def test_checkpoints_are_a_curve_whose_last_counts(scores: Scores) -> None:
    lines = scores.curves("win_rate", arm("kl"))
    wanted = [100 * win(arm("kl"), 1, step) for step in CHECKPOINTS]
    assert [each.step for each in lines[1]] == list(CHECKPOINTS)
    assert [each.value for each in lines[1]] == pytest.approx(wanted)
    assert scores.runs("win_rate", arm("kl"))[1].value == pytest.approx(wanted[-1])


def test_the_best_checkpoint_and_the_one_as_far_along_as_step_100_of_180(scores: Scores) -> None:
    assert scores.runs("best_win_rate", arm("kl"))[0].value == pytest.approx(100 * win(arm("kl"), 0, 30))
    assert scores.runs("win_rate_100", arm("kl"))[2].value == pytest.approx(100 * win(arm("kl"), 2, 30))


def test_the_win_rate_over_the_true_kl_of_the_rollouts_before(scores: Scores) -> None:
    line = scores.curves("by_kl", arm("kl"))[0]
    assert [each.step for each in line] == pytest.approx(
        [true_kl(arm("kl"), step - 2) for step in CHECKPOINTS]
    )
    assert [each.value for each in line] == pytest.approx(
        [100 * win(arm("kl"), 0, step) for step in CHECKPOINTS]
    )


def test_memory_is_the_gpus_where_there_was_one() -> None:
    mine = Scores("store", {}, {})
    row = {
        "step": 3,
        "resumed_from": 0,
        "seconds_compute": 6.0,
        "peak_memory_bytes": 9,
        "peak_gpu_memory_bytes": 10**9,
    }
    _put(mine, arm("kl"), 0, [row, row | {"peak_gpu_memory_bytes": None}])
    assert mine.runs("peak_memory", arm("kl"))[0].value == 1.0


def test_a_system_without_seed_and_steps_has_one_figure(scores: Scores) -> None:
    assert {seed: run.value for seed, run in scores.runs("win_rate", Cell(SUPERVISED)).items()} == {0: 31.0}
    assert not scores.curves("win_rate", Cell(SUPERVISED))


def test_resources_are_those_of_the_attempts(scores: Scores) -> None:
    """The attempts of the made-up store took six seconds of computing for three steps."""
    assert {run.value for run in scores.runs("step_seconds", arm("kl")).values()} == {2.0}
    assert scores.runs("hours_100", arm("kl"))[0].value == pytest.approx(200 / 3600)
    assert scores.runs("peak_memory", arm("kl"))[0].value == pytest.approx((1 << 20) / 1e9)
    assert set(scores.runs("parameters", arm("kl"))) == set(SEEDS)


def test_settings_that_depart_from_the_corrected_ones() -> None:
    recipe = PpoRecipe.model_validate({"training": {"accumulation": "repeat", "adapter_dtype": "bfloat16"}})
    assert departures(recipe.model_dump(mode="json")) == "accumulation=repeat adapter_dtype=bfloat16"
    assert departures(PpoRecipe().model_dump(mode="json")) == "none"


def test_runs_that_differ_in_a_setting_are_other_cells(tmp_path) -> None:
    lab = Lab.at(tmp_path / "runs")
    recipes = {
        "none": PpoRecipe(),
        "padding=counted": PpoRecipe.model_validate({"estimation": {"padding": "counted"}}),
    }
    for seed, recipe in enumerate(recipes.values()):
        stage = Stage.create(PPO, recipe)
        stage.write(lab.workspace)
        levels = {"regularizer": "kl", "coefficient": "weak", "reward_data": "human", "seed": seed}
        lab.plan({f"e{seed}": levels}, {f"e{seed}": {"ppo": stage.id}}, study="rlhf")
    assert set(scores_of(lab).cells) == {arm("kl"), arm("kl")._replace(settings="padding=counted")}


@pytest.fixture(scope="module")
def published() -> Scores:
    return published_scores()


BY_STEP = {
    "jensen_shannon": (34.6, 44.8, 49.8, 49.8, 48.7),
    "none": (34.5, 43.8, 48.2, 48.3, 48.2),
    "kl": (35.6, 41.9, 46.7, 48.1, 47.6),
}
BY_KL = {
    "kl": ".003 34.3 .005 36.9 .009 42.0 .022 46.8 .027 47.1 .030 49.7",
    "none": ".006 34.2 .012 36.3 .018 43.0 .068 48.7 .107 49.2 .155 48.9 .177 46.7",
    "dropout_only": ".003 33.8 .014 44.2 .044 47.3 .085 49.1 .124 50.2",
    "jensen_shannon": ".012 39.7 .022 46.9 .060 51.9 .093 51.2 .128 47.9",
    "bregman": ".008 35.2 .019 41.4 .079 49.9 .202 47.9 .273 45.4",
    "squared_error": ".005 33.8 .012 36.5 .020 40.5 .042 46.5 .058 50.2 .067 49.2",
    "negative_kl": ".005 35.2 .024 34.5 .031 44.4 .165 48.7 .39 43.8 .504 45.7 .567 37.3 .574 38.3",
}
ALPACAFARM = {
    "gpt4": (79.0, 69.8),
    "chatgpt": (61.4, 52.9),
    "alpacafarm_ppo": (46.8, 55.1),
    "best_of_n": (45.0, 50.7),
    "expert_iteration": (41.9, 45.7),
    "sft52k": (39.2, 40.7),
    "sft10k": (36.7, 44.3),
    "binary_feedme": (36.6, 37.9),
    "quark": (35.6, None),
    "binary_reward_conditioning": (32.4, None),
    "davinci001": (24.4, 32.5),
    "llama7b": (11.3, 6.5),
}
LEADERBOARD = {
    "alpacafarm_ppo": 46.64,
    "sft52k": 40.80,
    "sft10k": 35.85,
    "chatgpt": 61.38,
    "gpt4": 80.43,
    "llama7b": 11.96,
}


def test_published_win_rates_by_step_are_those_stated(published: Scores) -> None:
    for name, stated in BY_STEP.items():
        (line,) = published.curves("win_rate", arm(name)).values()
        assert [(each.step, each.value) for each in line] == list(
            zip((20, 60, 100, 140, 180), stated, strict=True)
        )
    assert published.runs("win_rate", Cell(SUPERVISED))[0].value == 37.0
    assert published.runs("win_rate", Cell(FULL, reward_data="human"))[0].value == 46.7


@pytest.mark.parametrize("name", BY_KL)
def test_published_win_rates_by_true_kl_are_those_stated(published: Scores, name: str) -> None:
    (line,) = published.curves("by_kl", arm(name)).values()
    assert [number for each in line for number in (each.step, each.value)] == [
        float(number) for number in BY_KL[name].split()
    ]


def test_published_tables_are_those_stated(published: Scores) -> None:
    for name, (simulated, human) in ALPACAFARM.items():
        cell = printed_arm(f"reference:{name}")
        assert published.runs("simulated", cell)[0].value == simulated
        assert [run.value for run in published.runs("human", cell).values()] == (
            [] if human is None else [human]
        )
    for name, value in LEADERBOARD.items():
        assert published.runs("leaderboard", printed_arm(f"reference:{name}"))[0].value == value
    full, alpaca = Cell(FULL, reward_data="human"), Cell("alpaca7b")
    assert published.runs("alpacaeval1", full)[0].value == 41.24
    assert published.runs("alpacaeval1", alpaca)[0].value == 26.46
    assert published.runs("factscore", alpaca)[0].value == 39.7


def test_published_resources_are_those_stated(published: Scores) -> None:
    every = Cell("ppo", "all")
    values = {name: published.runs(name, every)[0].value for name in ("gpus", "hours_100", "trainable_share")}
    assert values == {"gpus": 2, "hours_100": 10, "trainable_share": 0.2}
    assert published.remarks["hours_100", every] == "an upper bound"


@pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is not here")
def test_the_figures_are_the_shared_ones() -> None:
    with SHARED.open(encoding="utf-8", newline="") as stream:
        assert list(csv.DictReader(stream)) == published_rows("rlhf")


def test_every_published_row_says_how_sure_it_is() -> None:
    assert {row["certainty"] for row in published_rows("rlhf")} == {"verified"}
    assert {row["kind"] for row in published_rows("rlhf")} == {"digitised", "printed"}


def test_planned_runs_are_known_before_anything_is_done(tmp_path) -> None:
    lab = Lab.at(tmp_path / "runs")
    plan_runs(lab, "rlhf", [(arm("none"), 0)], ["ppo"], keep=("regularizer",))
    scores = scores_of(lab)
    assert scores.planned == {arm("none"): {0}}
    assert not scores.has("win_rate")
