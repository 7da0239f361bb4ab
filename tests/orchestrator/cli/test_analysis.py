"""`yates effects`, `compare`, `power` and `--seeds` as a user reads them."""

import csv
import io
import json
import re
import subprocess
import sys

import pytest

from orchestrator.errors import GridError
from results.files import WorkspaceError
from tests.results.effects.lab import finished
from tests.results.studies.lab import CELLS, study
from tests.support.commands import ROOT


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("analysis") / "runs").workspace.root


def test_effects_as_markdown_latex_csv_and_a_figure(yates, workspace, tmp_path) -> None:
    code, text = yates("effects", "-w", workspace)
    assert code == 0 and text.startswith("**Effects (alignment, scale tiny, preset corrected)**")
    assert text.count("model × method") == 2 and "| mmlu" in text and "| perplexity" in text
    _, latex = yates("effects", "-w", workspace, "--metric", "mmlu", "--format", "latex")
    assert "\\toprule" in latex
    target = tmp_path / "effects.csv"
    yates("effects", "-w", workspace, "--metric", "mmlu", "--order", 1, "-o", target)
    rows = list(csv.DictReader(io.StringIO(target.read_text())))
    assert [row["levels"] for row in rows] == ["small", "large", "huge", "sft", "dpo"]
    assert (
        yates("effects", "-w", workspace, "-o", tmp_path / "effects.svg")[1]
        == f"wrote {tmp_path / 'effects.svg'}\n"
    )
    assert (tmp_path / "effects.svg").stat().st_size > 10_000


def test_effects_of_a_selection(yates, workspace) -> None:
    given = ("effects", "-w", workspace, "--metric", "mmlu", "--format", "csv")
    _, text = yates(*given, "--where", 'model == "huge"')
    assert {row["term"] for row in csv.DictReader(io.StringIO(text))} == {"method"}
    with pytest.raises(GridError, match="'model'"):
        yates(*given, "--where", 'modle == "huge"')


def test_compare_prints_ranks_and_pairs(yates, workspace) -> None:
    _, text = yates("compare", "method", "-w", workspace, "--lower", "perplexity")
    assert "sft − dpo" in text and "wins against dpo" in text and "all metrics" in text
    with pytest.raises(WorkspaceError, match="unknown factor 'methods'; did you mean 'method'"):
        yates("compare", "methods", "-w", workspace)


def test_nothing_finished_is_said(yates, tmp_path) -> None:
    finished(tmp_path / "runs", lambda *_: False)
    with pytest.raises(WorkspaceError, match="none of these experiments has a figure yet"):
        yates("effects", "-w", tmp_path / "runs")


def test_power_of_a_study_and_the_command_that_adds_the_seeds(yates, tmp_path) -> None:
    pair = [cell for cell in CELLS if cell.model == "mistral-7b" and cell.dataset == "beavertails"]
    study(tmp_path / "runs", cells=pair)
    given = ("power", "alignment", "-w", tmp_path / "runs")
    _, text = yates(*given)
    assert text.startswith("**Undecided findings of alignment**")
    assert re.search(
        r"`yates plan grids/alignment\.yaml --scale tiny --preset corrected --seeds \d+`: \d+ more", text
    )
    rows = list(csv.DictReader(io.StringIO(yates(*given, "--format", "csv")[1])))
    assert rows and {row["verdict"] for row in rows} <= {"leans", "undecided"}
    assert {row["seeds"] for row in rows} == {"3"}


def test_a_plan_can_be_told_to_add_seeds(yates, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    chosen = ("plan", "grids/alignment.yaml", "--where", 'variant == "mixture"', "--json")
    five, seven = (json.loads(yates(*chosen, *more)[1])["experiments"] for more in ((), ("--seeds", 7)))
    assert (five, seven) == (20, 28)


def test_the_command_line_stays_light() -> None:
    code = (
        "import sys; import orchestrator.cli.main, orchestrator.cli.analysis; "
        "print({'torch', 'matplotlib', 'pandas', 'scipy', 'numpy', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
