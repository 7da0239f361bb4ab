"""Figures of the LoRA PPO study: which points they show."""

import pytest

from results.files import WorkspaceError
from results.studies.drawing import Figure, Point
from results.studies.rlhf import figures
from results.studies.rlhf import study as rlhf
from results.studies.rlhf.cells import arm
from tests.results.lab import Lab
from tests.results.studies.rlhf.lab import CHECKPOINTS, SEEDS, judged, study, true_kl, win
from tests.results.studies.workspaces import finish, plan_runs


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Lab:
    cells = [arm("kl"), arm("kl", "strong"), arm("none")]
    return study(tmp_path_factory.mktemp("figures") / "runs", cells, facts=True)


def line(figure: Figure, series: str, style: str = "") -> list[Point]:
    return [point for point in figure.points if (point.series, point.style) == (series, style)]


def test_the_names_are_those_that_are_drawn() -> None:
    assert tuple(figures.FIGURES) == rlhf.FIGURES


def test_win_rates_by_step_with_the_published_lines_on_request(finished: Lab, tmp_path) -> None:
    figure = rlhf.figure("F1", finished.workspace)
    points = line(figure, "KL", "weak")
    assert [point.place for point in points] == list(CHECKPOINTS)
    means = [sum(100 * win(arm("kl"), seed, step) for seed in SEEDS) / 3 for step in CHECKPOINTS]
    assert [point.estimate.mean for point in points] == pytest.approx(means)
    assert all(point.estimate.known and point.estimate.n == len(SEEDS) for point in points)
    both = rlhf.figure("F1", finished.workspace, published=True)
    printed = [point.published for point in both.points if point.published is not None]
    assert len(printed) == 15 + 4 and {37.0, 46.7, 49.8} <= set(printed)
    both.save(tmp_path / "f1.svg")
    text = (tmp_path / "f1.svg").read_text()
    assert ">published<" in text and ">SFT<" in text and ">Jensen-Shannon<" in text


def test_win_rates_by_true_kl_have_a_point_for_each_checkpoint(finished: Lab) -> None:
    figure = rlhf.figure("F2", finished.workspace)
    assert [point.place for point in line(figure, "none")] == pytest.approx(
        [true_kl(arm("none"), step - 2) for step in CHECKPOINTS]
    )
    assert not figure.aside
    assert len(rlhf.figure("F2", None).points) == 42


def test_a_benign_panel_where_that_was_judged(finished: Lab, tmp_path) -> None:
    assert rlhf.figure("F1", finished.workspace).panels == ["win rate"]
    lab = Lab.at(tmp_path / "runs")
    (name,) = plan_runs(lab, "rlhf", [(arm("none"), 0)], ["win@10", "helpful@10"], keep=("regularizer",))
    finish(lab, f"{name}/win@10", judged(0.9, 10))
    finish(lab, f"{name}/helpful@10", judged(0.2, 10, "benign_win_rate"))
    figure = rlhf.figure("F1", lab.workspace)
    assert figure.panels == ["win rate", "win rate on benign prompts"]
    assert [point.estimate.mean for point in figure.points] == pytest.approx([90.0, 20.0])


def test_what_training_logged_has_a_panel_each(finished: Lab) -> None:
    figure = rlhf.figure("F3", finished.workspace)
    assert figure.panels == ["reward score", "penalty", "true KL"]
    points = [point for point in line(figure, "KL", "strong") if point.panel == "true KL"]
    assert [point.place for point in points] == list(range(1, 51))


def test_factuality_before_and_after_by_arm(finished: Lab) -> None:
    figure = rlhf.figure("F4", finished.workspace)
    assert list(figure.rows) == ["KL, weak", "KL, strong", "none"]
    means = {(point.panel, point.series): point.estimate.mean for point in figure.points}
    assert means["FActScore", "before"] == pytest.approx(80)
    assert means["FActScore", "after"] == pytest.approx(60, abs=0.1)


@pytest.mark.parametrize("name", ["F3", "F4"])
def test_the_paper_prints_no_values_of_some(name: str) -> None:
    with pytest.raises(WorkspaceError, match="prints no values of it"):
        rlhf.figure(name, None)


@pytest.mark.parametrize("name", rlhf.FIGURES)
def test_nothing_measured_is_a_message(tmp_path, name: str) -> None:
    lab = Lab.at(tmp_path / "runs")
    plan_runs(lab, "rlhf", [(arm("kl"), 0)], ["ppo"], keep=("regularizer",))
    with pytest.raises(
        WorkspaceError, match=f"{name}: none of the experiments that it shows was measured yet"
    ):
        rlhf.figure(name, lab.workspace)
