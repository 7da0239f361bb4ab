"""What the machine at hand is and lacks, and how figures of GPUs that are not there would be told."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from orchestrator.bench import machine, report, table
from orchestrator.bench.chain import as_one_process, chain_of, stood_on
from orchestrator.bench.machine import lacks, memory_gigabytes
from orchestrator.bench.measurement import Measured
from orchestrator.bench.process import printing_to_errors
from orchestrator.bench.report import Row, at_hand, planned_seconds
from orchestrator.plan import Plan
from tests.orchestrator.bench.grid import small_plan
from workers.recipe import Execution

H100 = "NVIDIA H100 80GB HBM3"
TWO = ("training.strategy=ddp", "training.processes=2")


@pytest.mark.parametrize(
    ("execution", "gpus", "found", "said"),
    [
        (Execution(), 1, 0, None),
        (Execution(strategy="ddp", processes=2), 2, 2, None),
        (Execution(strategy="ddp", processes=2), 0, 0, None),
        (Execution(strategy="ddp", processes=2, device="cpu"), 0, 1, None),
        (
            Execution(strategy="ddp", processes=2),
            0,
            1,
            "2 GPUs, one for each process, and this machine has 1",
        ),
        (
            Execution(strategy="ddp", processes=4),
            4,
            2,
            "4 GPUs, one for each process, and this machine has 2",
        ),
        (
            Execution(strategy="ddp", processes=4),
            4,
            0,
            "4 GPUs, one for each process, and this machine has none",
        ),
    ],
)
def test_what_is_lacking(
    monkeypatch: pytest.MonkeyPatch, execution: Execution, gpus: float, found: int, said: str | None
) -> None:
    monkeypatch.setattr(machine, "gpu_count", lambda: found)
    told = lacks(execution, gpus)
    assert told is None if said is None else told is not None and said in told


def test_the_memory_of_the_machine() -> None:
    assert memory_gigabytes("cpu") == psutil.virtual_memory().total / 1e9


def test_a_stage_is_given_a_gpu_for_each_process_or_the_whole_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(report, "memory_gigabytes", lambda device: 24.0)
    run = Execution(strategy="ddp", processes=4)
    asked = at_hand(H100, run)
    assert (asked.gpus, asked.gpu_memory_gb) == (4, 24.0)
    assert (at_hand("cpu", run).gpus, at_hand("cpu", run).memory_gb) == (0, 24.0)


def test_in_the_place_of_several_one_process_takes_as_many_rows_at_once_as_each(tmp_path: Path) -> None:
    links = chain_of(small_plan(tmp_path, *TWO, "training.micro_batch=null"), 3)
    [dpo] = [link for link in links if link.planned.name == "dpo" and link.shown]
    run = as_one_process(dpo)
    assert (run.strategy, run.processes, run.micro_batch) == ("single", 1, 2), "half of a batch of 4"


def test_what_no_stage_that_is_run_stands_on(tmp_path: Path) -> None:
    links = chain_of(small_plan(tmp_path), 3)
    stood = {link.planned.name for place, link in enumerate(links) if stood_on(links, place)}
    assert {"pretrain", "reference", "sft"} <= stood and "evaluate" not in stood
    assert "answers" not in stood, "its judge is left out"


def step(plan: Plan, device: str) -> float:
    links = chain_of(plan, 3)
    [dpo] = [link for link in links if link.planned.name == "dpo" and link.shown]
    parents = [(role, links[place].stage.recipe) for role, place in dpo.parents]
    return planned_seconds(plan, dpo, parents, device, "step")


LARGE = "pipeline.pretrain.recipe.model.shape={hidden_size: 4096, layers: 4, heads: 32}"
"""Large enough that its products decide."""


def test_two_processes_are_planned_to_share_a_step(tmp_path: Path) -> None:
    one = step(small_plan(tmp_path, LARGE), "cpu")
    two = step(small_plan(tmp_path, LARGE, *TWO), "cpu")
    assert 0.5 * one <= two < 0.65 * one


def test_a_plan_s_own_cost_of_a_stage_on_the_cpu_is_that_of_its_processes(tmp_path: Path) -> None:
    def cost(*overrides: str) -> float:
        return max(one.cost for one in small_plan(tmp_path, LARGE, *overrides).stages if one.name == "dpo")

    assert 0.5 * cost() <= cost(*TWO) < 0.65 * cost()


def test_of_several_processes_on_gpus_the_fullest_gpu_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "computes_on", lambda execution: H100)
    monkeypatch.setattr(report, "memory_gigabytes", lambda device: 80.0)
    plan = small_plan(tmp_path, *TWO, "training.device=auto")
    links = chain_of(plan, 3)
    [dpo] = [link for link in links if link.planned.name == "dpo" and link.shown]
    row = report._row(plan, dpo, links, Measured("step", 0.5, 3e9))
    assert (row.on, row.processes, row.gigabytes, row.largest_micro_batch) == (H100, 2, 3.0, 2)
    assert row.planned_gigabytes is not None and row.planned_gigabytes < 0.1, (
        "of one GPU, without a process's own"
    )


def test_the_table_fits_110_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    row = Row("unquantized", "dpo", H100, "ddp", 8, 16, 256, "step", 12.25, 9.5, 70.25, 68.0)
    none = Row("sft", "sft", H100, "deepspeed-zero3", 8, None, 0, None, None, None, None, None, "it lacks")
    table.print_bench([row, none], 78)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 110
    assert (
        "unquantized  16      256   step  12.2 s  9.5 s    70.2 GB  68.0 GB  8 × H100 80GB HBM3 (ddp)"
        in lines[3]
    )
    assert "none" in lines[4] and "8 × H100 80GB HBM3 (deepspeed-zero3)" in lines[4]
    assert lines[-1] == "sft: it lacks"


def test_standard_output_is_for_the_figures_whoever_prints(capfd: pytest.CaptureFixture[str]) -> None:
    said = "print('a library')"
    with printing_to_errors():
        print("in this process")
        subprocess.run([sys.executable, "-c", said], check=True)
    print(json.dumps([1]))
    out, errors = capfd.readouterr()
    assert out == "[1]\n"
    assert "in this process" in errors and "a library" in errors
