"""`yates results`: the store in each format."""

import io
import json

import pandas as pd
import pytest

from results.files import WorkspaceError
from results.layout import Workspace
from tests.orchestrator.lab import NAMES, Lab
from workers.context import metric

VALUES = {"sft/s0": 0.25, "sft/s1": 0.75, "dpo/s0": 0.5, "dpo/s1": 1 / 3}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Lab:
    lab = Lab(Workspace(tmp_path_factory.mktemp("results") / "runs"))
    for name in NAMES:
        stage = name.replace("/s", "-")
        lab.finish(f"train-{stage}", metrics=(metric("perplexity", 1234567.0, primary=True),))
        lab.finish(f"eval-{stage}", metrics=(metric("mmlu", VALUES[name], primary=True),))
    return lab


@pytest.fixture
def ask(yates, finished: Lab):
    def run(*arguments: object) -> str:
        code, text = yates("results", "-w", finished.workspace.root, *arguments)
        assert code == 0, text
        return text

    return run


def test_a_table_word_for_word(ask) -> None:
    assert ask("--by", "method", "--metric", "mmlu") == (
        "method  n   mmlu\n   dpo  2 0.4167\n   sft  2    0.5\n"
    )


def test_csv_word_for_word(ask) -> None:
    assert ask("--by", "method,seed", "--metric", "mmlu", "--format", "csv") == (
        "method,seed,n,mmlu\ndpo,0,1,0.5\ndpo,1,1,0.3333333333333333\nsft,0,1,0.25\nsft,1,1,0.75\n"
    )


def test_json_is_a_list_of_rows(ask) -> None:
    rows = json.loads(ask("--metric", "mmlu", "--format", "json", "--where", "seed == 1"))
    assert {row["name"]: round(row["mmlu"], 6) for row in rows} == {"sft/s1": 0.75, "dpo/s1": 0.333333}


def test_every_format_holds_the_same_figures(ask, tmp_path) -> None:
    wanted = ("--metric", "mmlu,perplexity")
    ask(*wanted, "--format", "parquet", "-o", tmp_path / "out.parquet")
    parquet = pd.read_parquet(tmp_path / "out.parquet").set_index("name")
    csv = pd.read_csv(io.StringIO(ask(*wanted, "--format", "csv"))).set_index("name")
    listed = pd.DataFrame(json.loads(ask(*wanted, "--format", "json"))).set_index("name")
    assert parquet["mmlu"].to_dict() == csv["mmlu"].to_dict() == pytest.approx(VALUES)
    assert listed["mmlu"].to_dict() == pytest.approx(VALUES)


def test_spaces_and_empty_names_in_a_list_do_not_matter(ask) -> None:
    assert ask("--by", " method , seed,", "--metric", "mmlu") == ask(
        "--by", "method,seed", "--metric", "mmlu"
    )


@pytest.mark.parametrize("format_", ["table", "csv", "json"])
def test_a_file_holds_what_the_terminal_would_show(ask, tmp_path, format_: str) -> None:
    shown = ask("--metric", "mmlu", "--format", format_)
    assert ask("--metric", "mmlu", "--format", format_, "-o", tmp_path / "out") == ""
    assert (tmp_path / "out").read_text() == shown


def test_parquet_needs_a_file(yates, finished: Lab) -> None:
    with pytest.raises(WorkspaceError, match="name it with --output"):
        yates("results", "-w", finished.workspace.root, "--format", "parquet")


def test_an_unknown_format_lists_the_known_ones(yates, finished: Lab) -> None:
    code, text = yates("results", "-w", finished.workspace.root, "--format", "xml")
    assert code == 2
    assert all(name in text for name in ("table", "csv", "json", "parquet"))


def test_a_workspace_without_results_lists_its_experiments(yates, lab: Lab) -> None:
    code, text = yates("results", "-w", lab.workspace.root, "--format", "csv", "--where", "seed == 0")
    assert code == 0
    frame = pd.read_csv(io.StringIO(text))
    assert frame[["name", "status"]].to_dict("list") == {
        "name": ["sft/s0", "dpo/s0"],
        "status": ["pending", "pending"],
    }


def test_a_condition_that_holds_for_no_row_gives_an_empty_table(ask) -> None:
    text = ask("--where", "mmlu > 2", "--metric", "mmlu", "--format", "csv")
    assert text.splitlines() == ["experiment,name,status,mmlu"]
