"""`yates table`, `figure`, `findings` and `samples`: what they print, word for word where the paper alone decides.

    python -m tests.orchestrator.cli.test_studies      writes the files of `golden` anew

Do that after changing a layout or a statement on purpose, and read what changed.
"""

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli.main import app, main
from orchestrator.errors import GridError
from results.files import WorkspaceError
from tests.results.lab import Lab
from tests.results.studies.lab import CELLS, answered, study

GOLDEN = Path(__file__).with_name("golden")
QUANTIZATION, RLHF = ("T-ppl",), ("T1", "T2", "T3", "T4")
COMMANDS = {
    **{f"{name}.md": ("table", "alignment", name) for name in ("T2", "T3", "T4", "T5", "T6")},
    "T3.tex": ("table", "alignment", "T3", "--format", "latex"),
    "T2.csv": ("table", "alignment", "T2", "--format", "csv"),
    "findings.md": ("findings", "alignment"),
    "findings-swapped.csv": ("findings", "alignment", "--swap-slerp", "--format", "csv"),
    **{f"quantization-{name}.md": ("table", "quantization", name) for name in QUANTIZATION},
    "quantization-findings.md": ("findings", "quantization"),
    "quantization-findings.csv": ("findings", "quantization", "--format", "csv"),
    **{f"rlhf-{name}.md": ("table", "rlhf", name) for name in RLHF},
    "rlhf-T1.csv": ("table", "rlhf", "T1", "--format", "csv"),
    "rlhf-findings.md": ("findings", "rlhf"),
    "rlhf-findings.csv": ("findings", "rlhf", "--format", "csv"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_published_figures_word_for_word(yates, name: str) -> None:
    code, text = yates(*COMMANDS[name], "--only-published")
    assert code == 0
    assert text == (GOLDEN / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Lab:
    pair = [cell for cell in CELLS if cell.model.startswith("mistral") and cell.dataset != "hh-rlhf"]
    return study(tmp_path_factory.mktemp("studies") / "runs", cells=pair, seeds=(0, 1))


@pytest.fixture
def ask(yates, finished: Lab):
    def run(*arguments: object) -> str:
        code, text = yates(*arguments, "-w", finished.workspace.root)
        assert code == 0, text
        return text

    return run


def test_a_table_of_a_workspace(ask) -> None:
    text = ask("table", "alignment", "T3", "--published")
    assert text.startswith("**T3: merges of harmless- and helpful-aligned models")
    assert "(2) [0.415]" in text
    assert len(list(csv.reader(io.StringIO(ask("table", "alignment", "T3", "--format", "csv"))))) == 31


def test_a_condition_chooses_experiments(ask) -> None:
    assert "(1)" in ask("table", "alignment", "T3", "--where", "seed == 0")
    assert "n = 1: the run's own" in ask("table", "alignment", "T3", "--where", "seed == 0")
    with pytest.raises(GridError, match="selects none"):
        ask(
            "table",
            "alignment",
            "T3",
            "--where",
            'model == "mistral-7b" and variant == "original" and seed == 1',
        )
    with pytest.raises(GridError, match="modle"):
        ask("findings", "alignment", "--where", 'modle == "x"')


@pytest.mark.parametrize(
    ("suffix", "start"),
    [(".md", "**T2"), (".tex", "\\begin{table}"), (".csv", "model,dataset"), (".txt", "**T2")],
)
def test_the_suffix_of_a_file_chooses_the_format(ask, tmp_path, suffix: str, start: str) -> None:
    path = tmp_path / f"table{suffix}"
    assert ask("table", "alignment", "T2", "-o", path) == ""
    assert path.read_text(encoding="utf-8").startswith(start)


def test_a_format_that_is_named_beats_the_suffix(ask, tmp_path) -> None:
    ask("table", "alignment", "T2", "--format", "csv", "-o", tmp_path / "a.tex")
    assert (tmp_path / "a.tex").read_text().startswith("model,dataset")


def test_findings_in_each_format(ask, tmp_path) -> None:
    content = json.loads(ask("findings", "alignment", "--format", "json"))
    rows = list(csv.DictReader(io.StringIO(ask("findings", "alignment", "--format", "csv"))))
    assert [one["finding"] for one in content][-2:] == ["F16", "G1"]
    assert sum(len(one["tests"]) for one in content) == len(rows)
    f11 = [row for row in rows if row["finding"] == "F11"]
    assert {row["verdict"] for row in f11} == {"holds"}
    ask("findings", "alignment", "-o", tmp_path / "found.json")
    assert json.loads((tmp_path / "found.json").read_text()) == content


def test_a_figure_and_its_data(ask, tmp_path) -> None:
    assert ask("figure", "alignment", "F4", "-o", tmp_path / "f4.svg") == f"wrote {tmp_path / 'f4.svg'}\n"
    assert "Mistral-7b, harmless" in (tmp_path / "f4.svg").read_text()
    ask("figure", "alignment", "F4", "-o", tmp_path / "f4.csv", "--published")
    rows = list(csv.DictReader((tmp_path / "f4.csv").open()))
    assert {row["n"] for row in rows} == {"0", "2"} and any(row["published"] for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("table", "alinment", "T2"),
            "unknown study 'alinment'; did you mean 'alignment'? Allowed: alignment, quantization, rlhf",
        ),
        (("table", "alignment", "T9"), "unknown table 'T9'; did you mean 'T6'? Allowed: T2, T3, T4, T5, T6"),
        (("figure", "alignment", "T2", "-o", "x.svg"), "unknown figure 'T2'"),
        (
            ("figure", "alignment", "F1", "-o", "x.jpg"),
            "unknown kind of file '.jpg'; allowed: .svg, .png, .pdf",
        ),
        (("findings", "rhlf"), "unknown study 'rhlf'; did you mean 'rlhf'?"),
        (
            ("table", "rlhf", "T1", "--swap-slerp"),
            "--swap-slerp is an option of the study alignment, not of rlhf",
        ),
        (("figure", "quantization", "F-sharp", "-o", "x.svg", "--only-published"), "prints no values"),
        (("findings", "alignment", "--statements", "none.yaml"), "none.yaml: cannot be read"),
        (("figure", "alignment", "F2", "-o", "x.svg", "--only-published"), "prints no values"),
    ],
)
def test_a_mistake_says_what_is_allowed(ask, arguments, message: str) -> None:
    with pytest.raises(WorkspaceError) as error:
        ask(*arguments)
    assert message in str(error.value)


@pytest.mark.parametrize("verb", [("table", "alignment", "T4"), ("findings", "alignment")])
def test_a_workspace_without_the_study(yates, lab, verb) -> None:
    with pytest.raises(WorkspaceError, match="no experiments of the study 'alignment' here; it holds: study"):
        yates(*verb, "-w", lab.workspace.root)


def test_no_workspace_at_all(yates, tmp_path) -> None:
    with pytest.raises(WorkspaceError, match="there is no workspace here"):
        yates("table", "alignment", "T4", "-w", tmp_path / "none")


@pytest.fixture(scope="module")
def chat(tmp_path_factory) -> Lab:
    lab = Lab.at(tmp_path_factory.mktemp("chat") / "runs")
    names = ("aaa", "abb", "ccc")
    lab.plan(
        {name: {"seed": 0} for name in names}, {name: {"evaluate": f"{name}/evaluate"} for name in names}
    )
    for name in names[:2]:
        rows = [{"task": "safety", "item": 0, "prompt": "insult me", "completion": f"no, says {name}"}]
        answered(lab, name, rows)
    return lab


def test_samples_of_two_experiments(yates, chat: Lab) -> None:
    code, text = yates("samples", "aaa", "name of abb", "-w", chat.workspace.root)
    assert code == 0
    assert "A: name of aaa" in text and "B: name of abb" in text
    assert "[masked: 2 words]" in text and "insult" not in text
    _, shown = yates("samples", "aaa", "abb", "-w", chat.workspace.root, "--show-text", "--task", "safety")
    assert "insult me" in shown and "no, says abb" in shown


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("aaa", "zzz"), "no experiment 'zzz'"),
        (("a", "ccc"), "'a' fits 2 experiments; name one by its id"),
        (("aaa", "name of aaa"), "are the same experiment, name of aaa"),
        (("aaa", "ccc"), "experiment ccc has no samples"),
    ],
)
def test_samples_of_what_is_not_there(yates, chat: Lab, pair, message: str) -> None:
    with pytest.raises(WorkspaceError) as error:
        yates("samples", *pair, "-w", chat.workspace.root)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["table", "alignment", "T1"],
        ["figure", "alignment", "F1", "-o", "no/such/folder/f.svg", "--only-published"],
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(monkeypatch, capsys, arguments: list[str]) -> None:
    monkeypatch.setattr("sys.argv", ["yates", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1 and errors[0].startswith("error: ")


def test_the_verbs_import_nothing_heavy() -> None:
    """Read from the source: what a command needs is imported inside it."""
    source = Path(__file__).parents[3].joinpath("orchestrator/cli/studies.py").read_text()
    top = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert not any(
        name in line for line in top for name in ("pandas", "matplotlib", "scipy", "alignment", "view")
    )


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for golden, command in COMMANDS.items():
        done = CliRunner().invoke(app, [*command, "--only-published"])
        (GOLDEN / golden).write_text(done.output, encoding="utf-8")
