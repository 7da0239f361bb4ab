"""What a workspace measured of one study: chosen experiments, of one scale and preset."""

import pytest

from results.files import WorkspaceError
from results.studies.alignment.cells import Cell
from results.studies.measurements import read_measurements
from tests.results.lab import Lab
from tests.results.studies.lab import metric_rows, plan_cells, study, truth

CELL = Cell("mistral-7b", "beavertails", "harmless", "sft", "qlora", "single")


def test_only_the_figures_of_the_chosen_experiments(tmp_path) -> None:
    lab = study(tmp_path / "runs", cells=[CELL], seeds=(0, 1, 2))
    everything = read_measurements(lab.workspace, "alignment")
    some = read_measurements(lab.workspace, "alignment", {f"{CELL}/s1"})
    assert (len(everything.experiments), len(everything.figures)) == (3, 12)
    assert (len(some.experiments), len(some.figures)) == (1, 4)
    assert set(some.figures["experiment"]) == {f"{CELL}/s1"}
    assert (some.scale, some.preset) == ("tiny", "corrected")


def test_another_study_in_the_workspace_is_passed_over(tmp_path) -> None:
    lab = study(tmp_path / "runs", cells=[CELL], seeds=[0])
    lab.plan({"q": {"bits": 4}}, {"q": {"evaluate": "q/evaluate"}}, study="quantization", scale="small")
    lab.run("q/evaluate", *metric_rows(CELL, 0, ["mmlu"], truth, None))
    found = read_measurements(lab.workspace, "alignment")
    assert list(found.experiments["experiment"]) == [f"{CELL}/s0"]
    assert set(found.figures["experiment"]) == {f"{CELL}/s0"}


@pytest.mark.parametrize("facts", [{"scale": "small"}, {"scale": "tiny", "preset": "as-published"}])
def test_scales_and_presets_do_not_mix(tmp_path, facts: dict[str, str]) -> None:
    lab = Lab.at(tmp_path / "runs")
    plan_cells(lab, [(CELL, 0)])
    plan_cells(lab, [(CELL, 1)], **facts)
    with pytest.raises(WorkspaceError) as error:
        read_measurements(lab.workspace, "alignment")
    assert "several scales or presets" in str(error.value)
    assert """--where 'scale == \"""" in str(error.value)
    assert len(read_measurements(lab.workspace, "alignment", {f"{CELL}/s0"}).experiments) == 1


def test_a_plan_without_figures_is_a_plan(tmp_path) -> None:
    lab = Lab.at(tmp_path / "runs")
    plan_cells(lab, [(CELL, 0)])
    found = read_measurements(lab.workspace, "alignment")
    assert (len(found.experiments), len(found.figures)) == (1, 0)


def test_an_empty_workspace_holds_no_study(tmp_path) -> None:
    (tmp_path / "runs").mkdir()
    with pytest.raises(WorkspaceError, match=r"no experiments of the study 'alignment' here$"):
        read_measurements(Lab.at(tmp_path / "runs").workspace, "alignment")
