"""Stages of several processes: measured as such, and neither a process nor a file is left when one ends early."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from orchestrator.bench import machine
from orchestrator.bench.report import Row, run_bench
from orchestrator.grid import load_grid
from orchestrator.plan import plan_grid
from tests.orchestrator.bench import grid, sums
from tests.support.commands import ROOT, command, yates
from workers import strategies
from workers.failures import CHILD_KILLED

TWO = ["training.strategy=ddp", "training.processes=2"]


def measured(path: Path, *overrides: str, where: str | None = None) -> dict[str, Row]:
    plan = plan_grid(load_grid(path, where=where, overrides=list(overrides)))
    return {row.stage: row for row in run_bench(plan, 3)}


def few(folder: Path, *overrides: str) -> dict[str, Row]:
    """One SFT, what it stands on and what stands on it."""
    return measured(grid.write(folder), *overrides, where='method == "sft" and rank == 2 and seed == 0')


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    """Real stages, of which SFT runs as two processes."""
    return few(tmp_path_factory.mktemp("two"), *TWO)


def test_a_stage_runs_as_two_processes_and_the_others_as_one(two: dict[str, Row]) -> None:
    ran = {name: (row.strategy, row.processes, row.unit, row.note) for name, row in two.items()}
    assert ran["sft"] == ("ddp", 2, "step", None)
    assert ran["pretrain"] == ("single", 1, "step", None)
    assert ran["evaluate"] == ran["answers"] == ("single", 1, "stage", None)
    assert all(row.seconds and row.on == "cpu" for name, row in two.items() if name != "quality")


def test_memory_on_the_cpu_is_that_of_all_processes_as_the_plan_counts_it(two: dict[str, Row]) -> None:
    """Two processes with all libraries, each about what the plan takes one to be."""
    sft, evaluate = two["sft"], two["evaluate"]
    assert sft.gigabytes and evaluate.gigabytes and sft.planned_gigabytes and evaluate.planned_gigabytes
    assert sft.planned_gigabytes == pytest.approx(2 * evaluate.planned_gigabytes, rel=0.05)
    assert 0.6 < sft.gigabytes / sft.planned_gigabytes < 1.4
    assert (sft.micro_batch, sft.largest_micro_batch) == (2, 2), "half of a batch of 4"


def test_a_process_that_dies_is_told_and_the_others_are_measured(tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    rows = measured(sums.write(tmp_path), "sum.fault=kill", "sum.at=3")
    assert (rows["sum"].note or "").startswith(f"{CHILD_KILLED} (process 1 of 2")
    assert rows["sum"].seconds is None and rows["sum"].gigabytes is None
    assert rows["after"].note == "it stands on 'sum', which failed"
    assert rows["alone"].seconds is not None and rows["alone"].note is None
    assert not [one for one in set(psutil.Process().children(recursive=True)) - before if is_rank(one)]


def is_rank(process: psutil.Process) -> bool:
    """Whether it lives and is one of several that compute: not the server that they are forked from."""
    try:
        return process.ppid() != os.getpid() and not is_zombie(process)
    except psutil.NoSuchProcess:
        return False


def test_without_deepspeed_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: dict[str, Row]
) -> None:
    """What stands on the stage finds what one process left."""
    nothing = SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: None))
    monkeypatch.setattr(strategies, "importlib", nothing)
    rows = few(tmp_path, "training.strategy=deepspeed-zero2", "training.processes=2")
    sft = rows["sft"]
    assert sft.note == "strategy 'deepspeed-zero2' needs DeepSpeed: pip install 'yates[deepspeed]'"
    assert sft.unit is None and sft.seconds is None and sft.gigabytes is None
    assert sft.planned_seconds is None and sft.planned_gigabytes is not None
    assert rows["evaluate"].seconds is not None and rows["evaluate"].note is None


def test_fewer_gpus_than_processes_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["pipeline.sum.resources={gpus: 2, gpu_memory_gb: 24}", "team.device=auto"]
    for found, said in ((1, "1"), (0, "none")):
        monkeypatch.setattr(machine, "gpu_count", lambda found=found: found)
        rows = measured(sums.write(tmp_path), *asked)
        assert rows["sum"].note is not None
        assert rows["sum"].note.startswith(
            f"it is for 2 GPUs, one for each process, and this machine has {said}"
        )
        assert rows["alone"].seconds is not None


def is_zombie(process: psutil.Process) -> bool:
    """Whether it has ended, and only its number is left until somebody asks for its exit code."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def stop(tmp_path: Path, number: signal.Signals) -> tuple[int, list[psutil.Process], list[str]]:
    """Signal a bench whose processes compute: its exit code, who lives on, and what is left of its files."""
    files = tmp_path / "files"
    files.mkdir()
    overrides = ["--set", "sum.steps=4000", "--set", "sum.pause=0.05"]
    process = subprocess.Popen(
        command("bench", sums.write(tmp_path), *overrides),
        env={**os.environ, "TMPDIR": str(files), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(files.glob("yates-bench-*/stages/*/*/attempts/*/checkpoints/*")):
        assert process.poll() is None and time.monotonic() < deadline, "no step was made"
        time.sleep(0.05)
    everyone = psutil.Process(process.pid).children(recursive=True)
    assert len(everyone) >= 3, "two processes and the server that they are forked from"
    if number is signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal sends it
    else:
        process.send_signal(number)
    code = process.wait(30)
    left = [one for one in psutil.wait_procs(everyone, timeout=5)[1] if not is_zombie(one)]
    return code, left, [path.name for path in files.iterdir()]


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_neither_processes_nor_files_outlive_an_interrupted_bench(
    tmp_path: Path, number: signal.Signals
) -> None:
    assert stop(tmp_path, number) == (130, [], [])


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["deepspeed-zero2", "deepspeed-zero3"])
def test_deepspeed(tmp_path: Path, strategy: str) -> None:
    pytest.importorskip("deepspeed", reason="needs yates[deepspeed]")
    rows = few(tmp_path, f"training.strategy={strategy}", "training.processes=2")
    sft = rows["sft"]
    assert (sft.strategy, sft.processes, sft.unit, sft.note) == (strategy, 2, "step", None)
    assert sft.seconds and sft.gigabytes and rows["evaluate"].seconds


@pytest.mark.slow
def test_the_alignment_study_s_tiny_scale_as_two_processes() -> None:
    """Standard output is JSON and nothing else, whatever libraries print in any process."""
    options = [f"machine.execution.{one}" for one in ("strategy=ddp", "processes=2", "device=cpu")]
    chosen = [word for option in options for word in ("--set", option)]
    done = yates("bench", ROOT / "grids" / "alignment.yaml", "--where", "seed == 0", *chosen, "--json")
    assert done.returncode == 0, done.stderr
    rows: dict[str, Any] = {row["stage"]: row for row in json.loads(done.stdout)}
    assert {name for name, row in rows.items() if row["processes"] == 2} == {"sft", "dpo"}
    assert not [row["note"] for row in rows.values() if row["note"]]
    assert all(row["seconds"] > 0 and row["gigabytes"] > 0 for row in rows.values())
