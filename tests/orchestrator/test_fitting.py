"""What a plan says of memory: the largest need of a shape, micro-batches that fit, and what does not."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.fitting import Fit, fits, largest_by_shape
from orchestrator.grid import load_grid
from orchestrator.plan import Plan, plan_grid
from orchestrator.summary import plan_summary, print_plan
from tests.orchestrator.grids import replaced, write

GRID = Path(__file__).parents[2] / "grids" / "alignment.yaml"
WHERE = 'seed == 0 and dataset == "beavertails" and preference == "harmless" and model == "mistral-7b"'


def plan(*overrides: str) -> Plan:
    return plan_grid(load_grid(GRID, scale="paper", where=WHERE, overrides=list(overrides)))


def by_stage(found: Plan) -> dict[str, Fit]:
    return {one.stage: one for one in fits(found)}


def test_every_stage_of_a_pipeline_that_computes_has_a_need() -> None:
    found = by_stage(plan())
    assert {"sft", "dpo", "reference", "evaluate", "answers", "toxicity"} <= set(found)
    assert {"helpfulness", "attacks"}.isdisjoint(found), "judges at a service"
    assert found["sft"].micro_batch == 4
    assert 15 < found["sft"].need.gigabytes < 30, "LoRA: the base in bfloat16 is the larger"


def test_the_largest_need_of_a_shape() -> None:
    found = fits(plan())
    largest = largest_by_shape(found)
    assert set(largest) == {one.shape for one in found}
    for one in found:
        assert one.need.gigabytes <= largest[one.shape].need.gigabytes


def test_what_does_not_fit_is_said_with_what_would() -> None:
    small = plan("machine.train.gpu_memory_gb=24", "machine.execution.micro_batch=16")
    assert by_stage(small)["dpo"].warning == (
        f"dpo needs {by_stage(small)['dpo'].room}; with a micro-batch of 2 it fits"
    )
    tiny = by_stage(plan("machine.train.gpu_memory_gb=10"))["dpo"]
    assert tiny.warning is not None
    assert "no micro-batch fits" in tiny.warning
    reading = by_stage(plan("machine.evaluate.gpu_memory_gb=10"))["reference"]
    assert reading.warning == f"reference needs {reading.room}"


def test_a_plan_prints_needs_micro_batches_and_warnings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    summary = plan_summary(plan("machine.train.gpu_memory_gb=24"))
    print_plan(summary)
    printed = capsys.readouterr().out
    assert "GB of 40 GB" in printed
    assert "largest micro-batches that fit:" in printed
    assert "dpo 2" in printed
    assert f"does not fit: {summary['warnings'][0]}" in printed


def test_the_summary_has_bytes_by_what_they_are_for() -> None:
    rows: list[dict[str, Any]] = plan_summary(plan())["memory"]
    row = next(row for row in rows if row["stage"] == "dpo")
    assert row["of_gigabytes"] == 40
    assert row["fits"]
    assert row["largest_micro_batch"] == 8
    assert sum(row["bytes"].values()) * 1.1 / 1e9 == pytest.approx(row["gigabytes"], abs=0.01)


def test_a_stage_on_a_cpu_asks_for_memory_of_its_node(tmp_path: Path) -> None:
    text = replaced("resources: {cpus: 1}", "resources: {cpus: 1, memory_gb: 0.5}")
    found = by_stage(plan_grid(load_grid(write(tmp_path, text))))
    warned = [one for one in found.values() if one.need.has == 0.5]
    assert warned
    assert all(one.warning for one in warned), "the process alone is larger"


def test_what_is_offloaded_has_to_fit_the_host() -> None:
    """Copies, their gradients, two moments, two temporaries, a buffer: 28 bytes for each of 6.7 billion weights."""
    path = GRID.with_name("rlhf.yaml")
    offload = ["machine.base_execution.offload=optimizer", "machine.base.memory_gb=180"]
    found = by_stage(plan_grid(load_grid(path, scale="paper", where="seed == 0", overrides=offload)))
    assert found["sft"].need.fits
    assert found["sft"].offloaded == pytest.approx(28 * 6.74, rel=0.01)
    assert found["sft"].warning == (
        f"sft offloads {found['sft'].offloaded:.1f} GB to the host's memory, of which it asks for 180 GB; "
        "raise `memory_gb`"
    )
    offload[1] = "machine.base.memory_gb=256"
    larger = by_stage(plan_grid(load_grid(path, scale="paper", where="seed == 0", overrides=offload)))
    assert larger["sft"].warning is None
    assert larger["ppo"].offloaded == 0
