"""The command line as a user meets it, on toy stages: verbs, exit codes, messages."""

import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import results
from results.layout import Workspace
from tests.support.commands import GRID, start_yates, yates

TOYS = """
# yates run toys.yaml
study: toys
name: "{size}/s{seed}"
factors: {size: [1, 2, 3], seed: [0, 1]}
blocks: {all: {product: {size: all, seed: all}}}
pipeline:
  root: {kind: "tests.support.toys:TOY", recipe: {seed: 0, value: "${size}", pause: "${pause}", steps: 2}, show: false}
  leaf: {kind: "tests.support.toys:TOY", parents: {parent: root}, recipe: {value: 0.5, fault: "${fault}"}}
pause: 0.0
fault: ""
"""


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "toys.yaml"
    path.write_text(TOYS)
    return path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def status(runs: Path) -> dict[str, int]:
    return json.loads(yates("status", "-w", runs, "--json").stdout)


def test_plan_counts_experiments_and_distinct_stages(grid: Path) -> None:
    summary = json.loads(yates("plan", grid, "--json").stdout)
    assert (summary["experiments"], summary["stages"]) == (6, 9)


def test_run_finishes_the_grid_and_says_where_the_results_are(grid: Path, runs: Path) -> None:
    done = yates("run", grid, "-w", runs)
    assert done.returncode == 0, done.stderr
    assert "6 experiments: 6 done" in done.stdout
    frame = results.load(runs)
    assert sorted(frame["toy"]) == [1.5, 1.5, 2.5, 2.5, 3.5, 3.5]
    assert len(pd.read_parquet(runs / "store" / "latest" / "experiments.parquet")) == 6


def test_a_second_run_computes_nothing_and_starts_no_worker(grid: Path, runs: Path) -> None:
    yates("run", grid, "-w", runs)
    before = sorted(path.name for path in runs.glob("submissions/*"))
    started = time.monotonic()
    assert yates("run", grid, "-w", runs).returncode == 0
    assert time.monotonic() - started < 3.0
    assert sorted(path.name for path in runs.glob("submissions/*")) == before


def test_a_changed_grid_keeps_what_did_not_change(grid: Path, runs: Path) -> None:
    yates("run", grid, "-w", runs)
    grid.write_text(TOYS.replace("size: [1, 2, 3]", "size: [1, 2, 3, 4]"))
    assert yates("run", grid, "-w", runs).returncode == 0
    assert status(runs)["done"] == 8
    assert len(results.attempts(runs)) == 12


def test_where_selects_a_part_and_the_rest_follows(grid: Path, runs: Path) -> None:
    yates("run", grid, "-w", runs, "--where", "seed == 0")
    assert status(runs)["done"] == 3
    yates("run", grid, "-w", runs)
    assert status(runs)["done"] == 6


def test_submit_returns_at_once_and_the_workers_go_on(grid: Path, runs: Path) -> None:
    submitted = yates("submit", grid, "-w", runs, "--set", "pause=0.2")
    assert submitted.returncode == 0 and "6 experiments are in" in submitted.stdout
    assert yates("resume", "-w", runs).returncode == 0
    assert status(runs)["done"] == 6


def test_failures_give_exit_code_one_and_why_explains(grid: Path, runs: Path) -> None:
    failed = yates("run", grid, "-w", runs, "--set", "fault=bug", "--where", "seed == 0 and size in (1, 2)")
    assert failed.returncode == 1
    assert "failed: 2 × toy bug, such as: ValueError: a bug in line 42" in failed.stdout
    sentence = yates("why", "1/s0", "-w", runs).stdout
    assert "1/s0 failed: its toy stage" in sentence and "resume --release" in sentence
    assert "Traceback" not in failed.stdout + failed.stderr


def test_alike_failures_hold_the_rest_and_release_lifts_it(grid: Path, runs: Path) -> None:
    yates("run", grid, "-w", runs, "--set", "fault=bug", YATES_LOCAL_SLOTS="1")
    counts = status(runs)
    assert counts["failed"] == 3 and counts["held"] == 3
    assert "3 stages failed alike" in yates("status", "-w", runs).stdout
    assert yates("resume", "-w", runs).returncode == 1
    yates("resume", "-w", runs, "--release")
    assert len(results.attempts(runs)) > 6


def test_cancel_stops_only_what_nobody_else_needs(grid: Path, runs: Path) -> None:
    yates("submit", grid, "-w", runs, "--set", "pause=2.0")
    cancelled = yates("cancel", "-w", runs, "--where", "size == 3 or seed == 1")
    assert cancelled.returncode == 0, cancelled.stderr
    end = time.monotonic() + 60
    while status(runs)["done"] < 2 and time.monotonic() < end:
        time.sleep(0.3)
    while status(runs)["workers"] and time.monotonic() < end:
        time.sleep(0.3)
    assert status(runs)["done"] == 2
    assert "cancelled" in yates("why", "3/s0", "-w", runs).stdout
    assert yates("resume", "-w", runs).returncode == 0
    assert status(runs)["done"] == 6


def test_interrupting_a_run_leaves_it_resumable(grid: Path, runs: Path) -> None:
    driver = start_yates("run", grid, "-w", runs, "--set", "pause=1.0")
    while not list(runs.glob("supervisors/*.json")):
        time.sleep(0.1)
    driver.send_signal(2)
    assert driver.wait(30) == 130
    assert yates("resume", "-w", runs).returncode == 0


def test_verify_finds_damage_and_repair_with_resume_mends_it(grid: Path, runs: Path) -> None:
    yates("run", grid, "-w", runs)
    assert yates("verify", "-w", runs).returncode == 0
    damaged = sorted(runs.glob("stages/*/*/done.json"))[0]
    damaged.write_bytes(damaged.read_bytes()[:40])
    found = yates("verify", "-w", runs)
    assert found.returncode == 1 and str(damaged) in found.stdout
    assert yates("verify", "--repair", "-w", runs).returncode == 0
    assert yates("resume", "-w", runs).returncode == 0
    assert status(runs)["done"] == 6


def test_the_journals_can_be_lost_and_rebuilt(grid: Path, runs: Path) -> None:
    yates("run", grid, "-w", runs)
    before = results.load(runs)
    shutil.rmtree(runs / "journals")
    shutil.rmtree(runs / "store")
    assert yates("verify", "--repair", "-w", runs).returncode == 0
    pd.testing.assert_frame_equal(results.load(runs), before)


def test_gc_shows_sizes_and_removes_only_when_told(grid: Path, runs: Path) -> None:
    yates("run", grid, "-w", runs)
    shutil.rmtree(runs / "plans")
    yates("run", grid, "-w", runs, "--where", "size == 1")
    listed = yates("gc", "--dry-run", "-w", runs)
    assert "6 directories" in listed.stdout and "no plan needs this stage" in listed.stdout
    assert yates("gc", "--yes", "-w", runs).returncode == 0
    assert len(list(Workspace(runs).stages.glob("??/*"))) == 3
    assert status(runs)["done"] == 2


def test_results_are_averaged_and_written_in_every_format(grid: Path, runs: Path, tmp_path: Path) -> None:
    yates("run", grid, "-w", runs)
    rows = json.loads(
        yates("results", "-w", runs, "--by", "size", "--metric", "toy", "--format", "json").stdout
    )
    assert rows == [{"size": size, "n": 2, "toy": size + 0.5} for size in (1, 2, 3)]
    csv = yates("results", "-w", runs, "--where", "size == 2", "--metric", "toy", "--format", "csv").stdout
    assert csv.splitlines()[0] == "experiment,name,status,toy" and len(csv.splitlines()) == 3
    target = tmp_path / "out.parquet"
    assert yates("results", "-w", runs, "--format", "parquet", "-o", target).returncode == 0
    assert len(pd.read_parquet(target)) == 6


def test_logs_name_the_workers_of_an_experiment(grid: Path, runs: Path) -> None:
    yates("run", grid, "-w", runs, "--set", "fault=bug", "--where", "seed == 0 and size == 1")
    assert "a bug in line 42" in yates("logs", "1/s0", "-w", runs).stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["plan", "nosuch.yaml"], "nosuch.yaml: cannot be read"),
        (["plan", GRID, "--scale", "tny"], "did you mean 'tiny'?"),
        (["plan", GRID, "--where", "sed == 0"], "did you mean 'seed'?"),
        (["plan", GRID, "--where", "seed == 9"], "unknown level 9"),
        (["plan", GRID, "--set", "recipes.dpo.bta=1"], "did you mean 'beta'?"),
        (["plan", GRID, "--set", "recipes.dpo.training.steps=many"], "training.steps"),
        (["plan", GRID, "--hub-map", "nosuch.yaml"], "nosuch.yaml"),
        (["run", GRID, "--workspace", "/proc/nosuch"], "the workspace cannot be written"),
        (["status", "--workspace", "nosuch"], "there is no workspace here"),
        (["submit", GRID, "--on", "slrum"], "unknown backend 'slrum'"),
        (["plan", GRID, "--sclae", "tiny"], "--scale"),
    ],
)
def test_a_mistake_gets_one_message_and_exit_code_two(arguments: list[object], expected: str) -> None:
    done = yates(*arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_experiment_names_the_nearest(grid: Path, runs: Path) -> None:
    yates("run", grid, "-w", runs, "--where", "seed == 0")
    done = yates("why", "1/s9", "-w", runs)
    assert done.returncode == 2 and "did you mean '1/s0'?" in done.stderr


def test_the_command_line_imports_nothing_heavy() -> None:
    code = (
        "import sys; import orchestrator.cli.main, orchestrator.cli.runs, orchestrator.view, orchestrator.planner, "
        "orchestrator.submit, orchestrator.summary, orchestrator.progress, orchestrator.resume; "
        "print(*[m for m in ('torch', 'transformers', 'ray', 'pandas', 'pyarrow', 'datasets') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "\n"
    )


def test_help_and_status_answer_in_half_a_second(grid: Path, runs: Path) -> None:
    yates("run", grid, "-w", runs)
    for arguments in (["--help"], ["status", "-w", runs]):
        assert min(seconds(*arguments) for _ in range(5)) < 0.5


def seconds(*arguments: object) -> float:
    """Of a processor: others may want it too, and a command that reads waits for nothing else."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert yates(*arguments).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
