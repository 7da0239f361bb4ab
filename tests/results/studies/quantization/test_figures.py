"""Figures of the quantization study: which points they show."""

import pytest

from results.files import WorkspaceError
from results.studies.quantization import figures
from results.studies.quantization import study as quantization
from results.studies.quantization.cells import Cell
from tests.results.lab import Lab
from tests.results.studies.quantization.lab import SEEDS, study, world
from workers.context import metric


def memory(cell: Cell, seed: int):
    return [
        metric("projected", 1000, metric="weight_bytes"),
        metric("measured_memory", 4000, metric="weight_bytes", primary=True),
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Lab:
    ends = {("a4_row", seed): 120 for seed in SEEDS}
    root = tmp_path_factory.mktemp("figures") / "runs"
    return study(root, ["baseline", "w8_row", "w4_row", "a4_row"], diverged=ends, more=memory)


def test_the_names_are_those_that_are_drawn() -> None:
    assert figures.FIGURES == quantization.FIGURES


def test_curves_are_means_over_seeds_whole_and_over_the_last_tenth(finished: Lab) -> None:
    figure = quantization.figure("F-curves-W", finished.workspace)
    whole, last = figure.panels
    assert figure.series == ["baseline", "W, 8 bits per channel", "W, 4 bits per channel"]
    line = [point for point in figure.points if (point.panel, point.series) == (whole, "baseline")]
    assert [point.place for point in line] == [50, 100, 150, 200, 250]
    mean = sum(world(Cell("gpt2", "baseline"), seed) for seed in SEEDS) / 3
    assert [point.estimate.mean for point in line] == pytest.approx([mean + 5 - part for part in range(1, 6)])
    assert {point.place for point in figure.points if point.panel == last} == {250}


def test_arms_that_diverged_are_named(finished: Lab) -> None:
    figure = quantization.figure("F-curves-A", finished.workspace)
    assert "A, 4 bits per token: diverged at 120, 120, 120." in figure.notes


def test_projected_and_measured_memory_have_panels_of_their_own(finished: Lab, tmp_path) -> None:
    figure = quantization.figure("F-mem", finished.workspace)
    assert figure.panels == ["weights, measured", "weights, projected"]
    means = {point.panel: point.estimate.mean for point in figure.points}
    assert means == {"weights, measured": 4.0, "weights, projected": 1.0}
    figure.save(tmp_path / "memory.svg")
    assert "W, 4 bits per channel" in (tmp_path / "memory.svg").read_text()


@pytest.mark.parametrize("name", ["F-sharp", "F-outliers", "F-ghist", "F-surface", "F-time"])
def test_what_was_not_measured_is_a_message(finished: Lab, name: str) -> None:
    with pytest.raises(
        WorkspaceError, match=f"{name}: none of the experiments that it shows was measured yet"
    ):
        quantization.figure(name, finished.workspace)


@pytest.mark.parametrize("name", quantization.FIGURES)
def test_no_values_of_figures_are_published(name: str) -> None:
    with pytest.raises(WorkspaceError, match="prints no values of it"):
        quantization.figure(name, None, published=True)
