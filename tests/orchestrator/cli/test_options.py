"""Options that several verbs share, and the workspaces that they open and make."""

import os

import click
import pytest
import typer

from orchestrator.cli.main import app
from orchestrator.cli.options import make_workspace, open_workspace
from results.files import WorkspaceError
from tests.orchestrator.lab import Lab

VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_a_workspace_that_is_not_there_says_how_to_name_one(tmp_path) -> None:
    with pytest.raises(WorkspaceError) as error:
        open_workspace(tmp_path / "nosuch")
    assert str(error.value) == (
        f"{tmp_path / 'nosuch'}: there is no workspace here; name one with --workspace or YATES_WORKSPACE"
    )
    assert not (tmp_path / "nosuch").exists()


def test_a_file_is_no_workspace(tmp_path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(WorkspaceError, match="there is no workspace here"):
        open_workspace(tmp_path / "runs")
    with pytest.raises(WorkspaceError, match=r"cannot be written \(File exists\)"):
        make_workspace(tmp_path / "runs")


def test_a_workspace_is_made_with_its_parents_and_left_empty(tmp_path) -> None:
    root = tmp_path / "a" / "b"
    assert make_workspace(root).root == root
    assert list(root.iterdir()) == []


def test_making_a_workspace_that_is_there_keeps_it(lab: Lab) -> None:
    before = lab.tree()
    make_workspace(lab.workspace.root)
    assert lab.tree() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_workspace_that_may_not_be_written_is_refused(tmp_path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(WorkspaceError, match=r"cannot be written \(Permission denied\)"):
        make_workspace(tmp_path / "runs")


@pytest.mark.parametrize("verb", ["status", "verify", "gc", "results", "compact", "cancel"])
def test_the_workspace_comes_from_the_option_or_the_environment(
    yates, lab: Lab, monkeypatch, verb: str
) -> None:
    lab.finish("base")
    given = yates(verb, "-w", lab.workspace.root)
    monkeypatch.setenv("YATES_WORKSPACE", str(lab.workspace.root))
    assert yates(verb) == given
    monkeypatch.setenv("YATES_WORKSPACE", "nosuch")
    assert yates(verb, "--workspace", lab.workspace.root) == given


def test_the_default_workspace_is_runs_in_the_current_directory(yates, lab: Lab, monkeypatch) -> None:
    monkeypatch.delenv("YATES_WORKSPACE", raising=False)
    monkeypatch.chdir(lab.workspace.root.parent)
    code, text = yates("status")
    assert code == 0 and "4 pending" in text


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_and_every_option_says_what_it_is_for(verb: str) -> None:
    command = VERBS[verb]
    assert command.help and command.help.endswith(".")
    options = [
        one for one in command.params if isinstance(one, click.Option) or one.param_type_name == "option"
    ]
    assert all(getattr(one, "help", None) for one in options), verb


def test_an_option_means_one_thing_in_every_verb() -> None:
    """`--where` of one verb reads like `--where` of another."""
    helps: dict[str, set[str]] = {}
    for command in VERBS.values():
        for option in command.params:
            if option.param_type_name == "option":
                helps.setdefault(option.opts[0], set()).add(option.help)
    assert {name: texts for name, texts in helps.items() if len(texts) > 1} == {}


@pytest.mark.parametrize("verb", ["status", "resume", "cancel", "results"])
def test_a_wrong_condition_is_refused_by_every_verb_that_selects(yates, lab: Lab, verb: str) -> None:
    with pytest.raises(WorkspaceError, match="did you mean 'method'"):
        yates(verb, "-w", lab.workspace.root, "--where", "metod == 'dpo'")


@pytest.mark.parametrize("verb", ["status", "resume", "cancel"])
def test_a_condition_that_selects_nothing_is_a_mistake(yates, lab: Lab, verb: str) -> None:
    where = "method == 'dpo' and method == 'sft'"
    with pytest.raises(WorkspaceError) as error:
        yates(verb, "-w", lab.workspace.root, "--where", where)
    assert str(error.value) == f"--where {where}: selects none of the experiments of this workspace"
    assert not lab.workspace.tombstones.exists()


def test_cancel_says_how_much_and_what_lifts_it(yates, lab: Lab) -> None:
    assert yates("cancel", "-w", lab.workspace.root, "--where", "method == 'sft'") == (
        0,
        "4 stages of 2 experiments are cancelled; `yates resume` lifts that\n",
    )


def test_logs_print_the_last_lines_of_each_log(yates, lab: Lab) -> None:
    lab.finish("train-sft-0")
    lab.workspace.logs.mkdir()
    path = lab.workspace.logs / "worker-1.log"
    path.write_text("".join(f"line {number}\n" for number in range(100)))
    assert yates("logs", "sft/s0", "--lines", 2, "-w", lab.workspace.root) == (
        0,
        f"==> {path} <==\nline 98\nline 99\n",
    )
