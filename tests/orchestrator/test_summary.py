"""What is printed of a plan, a state and an outcome: word for word on small workspaces."""

import os
from pathlib import Path

import pytest

from orchestrator.grid import load_grid
from orchestrator.plan import plan_grid
from orchestrator.summary import plan_summary, print_outcome, print_plan, print_status, status_summary
from orchestrator.view import View
from results.layout import Workspace
from tests.orchestrator.grids import costing, replaced, write
from tests.orchestrator.lab import Lab, chosen, experiment_id, study

ALL = ["sft-0", "sft-1", "dpo-0", "dpo-1"]
IDS = [experiment_id(name) for name in ("sft/s0", "sft/s1", "dpo/s0", "dpo/s1")]


@pytest.fixture(autouse=True)
def wide(monkeypatch) -> None:
    """A terminal of 400 columns."""
    monkeypatch.setenv("COLUMNS", "400")


def words(text: str) -> list[str]:
    """Lines without their padding."""
    return [" ".join(line.split()) for line in text.strip().splitlines()]


def printed_status(lab: Lab, capsys, *experiments: str) -> list[str]:
    view = lab.view()
    print_status(view, chosen(view, *experiments))
    return words(capsys.readouterr().out)


SECONDS = {"pretrain/pretrain": 60.0, "sft/train": 1800.0, "evaluate/evaluate": 30.0}


def test_a_plan_in_small_tables(tmp_path, capsys) -> None:
    text = replaced("resources: {cpus: 1}", "resources: {gpus: 1, memory_gb: 40}")
    print_plan(plan_summary(costing(plan_grid(load_grid(write(tmp_path, text))), SECONDS)))
    assert words(capsys.readouterr().out) == [
        "small (default, default): 8 experiments, 18 distinct stages",
        "stage kind stages one takes expected time GPU-hours",
        "evaluate 8 30 s 4 min 0.0",
        "pretrain 2 60 s 2 min 0.0",
        "sft 8 30 min 4.0 h 4.0",
        "resource shape stages expected time GPU-hours memory needs",
        "cpu1-mem2g 10 6 min 0.0 2.0 GB 0.8 GB of 2 GB",
        "gpu1-cpu1-mem40g 8 4.0 h 4.0 40.0 GB 1.6 GB",
        "largest micro-batches that fit: pretrain 16, evaluate 16",
        "training: 4.0 h (4.0 GPU-hours), 31 min for an experiment by itself",
        "evaluation: 4 min, 30 s for an experiment by itself",
        "stages that wait for each other take 32 min on any number of workers",
    ]


def test_the_summary_of_a_plan_adds_up(tmp_path) -> None:
    summary = plan_summary(costing(plan_grid(load_grid(write(tmp_path))), SECONDS))
    for groups in (summary["kinds"], summary["shapes"]):
        assert sum(row["stages"] for row in groups.values()) == summary["stages"] == 18
        assert sum(row["seconds"] for row in groups.values()) == pytest.approx(2 * 60 + 8 * 1830)
    assert (summary["study"], summary["scale"], summary["preset"]) == ("small", "default", "default")


def test_half_a_gpu_costs_half_its_hours(tmp_path) -> None:
    text = replaced("resources: {cpus: 1}", "resources: {gpus: 0.5}")
    summary = plan_summary(costing(plan_grid(load_grid(write(tmp_path, text))), SECONDS))
    assert summary["shapes"]["gpu0.5-cpu1-mem2g"]["gpu_hours"] == pytest.approx(2.0)


def test_the_status_of_a_workspace_in_the_middle(lab: Lab, capsys) -> None:
    lab.finish("base", "train-sft-0", "eval-sft-0")
    lab.finish("train-sft-1", outcome="diverged")
    lab.fail("train-dpo-0", message="ValueError: a bug in line 42")
    lab.claim("train-dpo-1")
    lab.worker("worker-2")
    assert printed_status(lab, capsys) == [
        "study (tiny, corrected): 1 done, 1 running, 1 failed, 1 diverged",
        "stage kind done running pending failed blocked held",
        "dpo 0 1 0 1 0 0",
        "evaluate 1 0 1 0 2 0",
        "pretrain 1 0 0 0 0 0",
        "sft 2 0 0 0 0 0",
        "failed: 1 × dpo bug, such as: ValueError: a bug in line 42",
        "2 workers run",
    ]


def test_the_status_before_anything_ran(lab: Lab, capsys) -> None:
    lab.leave()
    assert printed_status(lab, capsys) == [
        "study (tiny, corrected): 4 pending",
        "stage kind done running pending failed blocked held",
        "dpo 0 0 2 0 0 0",
        "evaluate 0 0 4 0 0 0",
        "pretrain 0 0 1 0 0 0",
        "sft 0 0 2 0 0 0",
        "no worker runs",
    ]


def test_failures_are_told_by_class_with_one_example_and_holds_once(lab: Lab, capsys) -> None:
    lab.finish("base", *(f"train-{one}" for one in ALL))
    for number, name in enumerate(("eval-sft-0", "eval-sft-1", "eval-dpo-0")):
        lab.fail(name, message=f"KeyError: row {number} [of 9]")
    told = [line for line in printed_status(lab, capsys) if line.startswith(("failed", "held"))]
    assert told[0].startswith("failed: 3 × evaluate bug, such as: KeyError: row ")
    assert told[0].endswith(" [of 9]"), "text in brackets is text"
    assert told[1:] == [
        "held: evaluate: 3 stages failed alike (evaluate: bug: KeyError: row # [of #]); "
        "mend it, then `yates resume --release`"
    ]


def test_two_scales_of_one_study_are_told_apart(tmp_path, capsys) -> None:
    paper = study(created=2.0, scale="paper")
    paper.experiments[:] = [
        row._replace(experiment=experiment_id(f"paper {row.name}")) for row in paper.experiments
    ]
    lab = Lab(Workspace(tmp_path), [study(), paper])
    lines = printed_status(lab, capsys)
    assert lines[:2] == ["study (paper, corrected): 4 pending", "study (tiny, corrected): 4 pending"]


def test_the_status_of_a_selection_counts_its_own_stages(lab: Lab, capsys) -> None:
    lab.finish("base")
    assert printed_status(lab, capsys, "dpo/s0")[:5] == [
        "study (tiny, corrected): 1 pending",
        "stage kind done running pending failed blocked held",
        "dpo 0 0 1 0 0 0",
        "evaluate 0 0 1 0 0 0",
        "pretrain 1 0 0 0 0 0",
    ]


def test_the_status_as_json(lab: Lab) -> None:
    lab.finish("base", "train-sft-0", "eval-sft-0")
    view = lab.view()
    assert status_summary(view, chosen(view)) == {
        "done": 1,
        "running": 0,
        "failed": 0,
        "diverged": 0,
        "stopped": 0,
        "blocked": 0,
        "held": 0,
        "pending": 3,
        "experiments": 4,
        "stages": {
            "dpo": {"pending": 2},
            "evaluate": {"done": 1, "pending": 3},
            "pretrain": {"done": 1},
            "sft": {"done": 1, "pending": 1},
        },
        "held_because": {},
        "workers": ["worker-1"],
        "slurm": None,
        "ray": None,
    }


def outcome(view: View, capsys) -> tuple[int, list[str]]:
    code = print_outcome(view, IDS)
    return code, words(capsys.readouterr().out)


def test_a_run_in_which_all_is_done_says_where_the_results_are(lab: Lab, capsys) -> None:
    lab.finish("base", *(f"{part}-{one}" for one in ALL for part in ("train", "eval")))
    root = lab.workspace.root
    assert outcome(lab.view(), capsys) == (
        0,
        [
            "4 experiments: 4 done",
            f"results: yates results -w {root} --by model,method · store: {root}/store/latest",
        ],
    )


def test_a_diverged_experiment_has_its_result(lab: Lab, capsys) -> None:
    lab.finish("base", *(f"{part}-{one}" for one in ALL[1:] for part in ("train", "eval")))
    lab.finish("train-sft-0", outcome="diverged")
    code, lines = outcome(lab.view(), capsys)
    assert (code, lines[0]) == (0, "4 experiments: 3 done, 1 diverged")


def test_a_run_with_a_failure_says_what_failed_and_what_to_do(lab: Lab, capsys) -> None:
    lab.fail("base", ending="bad_input", message="no such file: data.jsonl")
    assert outcome(lab.view(), capsys) == (
        1,
        [
            "4 experiments: 4 blocked",
            "failed: 1 × pretrain bad_input, such as: no such file: data.jsonl",
            "`yates why EXPERIMENT` explains one; `yates resume` goes on",
        ],
    )


def test_when_all_workers_died_the_end_of_the_newest_log_is_shown(lab: Lab, capsys) -> None:
    lab.leave()
    lab.workspace.logs.mkdir()
    for age, name in enumerate(("new", "old")):
        path = lab.workspace.logs / f"{name}.log"
        path.write_text(f"Traceback\nImportError: {name}\n\n")
        os.utime(path, (1e9 - age, 1e9 - age))
    code, lines = outcome(lab.view(), capsys)
    assert code == 1
    assert lines[1] == f"the last worker ended with: ImportError: new ({lab.workspace.logs / 'new.log'})"


@pytest.mark.parametrize("content", [None, "", "\n\n"])
def test_no_log_or_an_empty_one_is_passed_over(lab: Lab, capsys, content: str | None) -> None:
    lab.leave()
    if content is not None:
        lab.workspace.logs.mkdir()
        (lab.workspace.logs / "one.log").write_text(content)
    assert outcome(lab.view(), capsys) == (
        1,
        ["4 experiments: 4 pending", "`yates why EXPERIMENT` explains one; `yates resume` goes on"],
    )


def test_a_long_path_in_an_outcome_stays_in_one_piece(tmp_path: Path, capsys, monkeypatch) -> None:
    """Where there is no terminal lines are not wrapped: a path or a command in them can be copied."""
    monkeypatch.setenv("COLUMNS", "80")
    lab = Lab(Workspace(tmp_path / ("a" * 40) / "runs"))
    lab.finish("base", *(f"{part}-{one}" for one in ALL for part in ("train", "eval")))
    print_outcome(lab.view(), IDS)
    printed = capsys.readouterr().out
    assert f"yates results -w {lab.workspace.root} --by model,method" in printed
    assert f"{lab.workspace.root}/store/latest" in printed
