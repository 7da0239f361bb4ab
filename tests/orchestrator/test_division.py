"""Several processes for one stage, as a grid asks for them: outside every id, one a GPU, refused in advance."""

from pathlib import Path

import pytest

from orchestrator.errors import GridError
from orchestrator.grid import load_grid
from orchestrator.plan import Plan, plan_grid
from tests.orchestrator.grids import SMALL, replaced, write

TRAIN = "    resources: {cpus: 1}\n"
EVALUATE = "      benchmarks: [{task: mmlu}]\n"


def plan_of(directory: Path, execution: str = "", resources: str = "cpus: 1", **choices: object) -> Plan:
    section = f"    resources: {{{resources}}}\n" + (f"    execution: {{{execution}}}\n" if execution else "")
    return plan_grid(load_grid(write(directory, replaced(TRAIN, section)), **choices))  # type: ignore[arg-type]


def executions(plan: Plan) -> set[tuple[str, str, int]]:
    return {(stage.name, stage.execution.strategy, stage.execution.processes) for stage in plan.stages}


def test_ids_do_not_know_how_many_processes_compute(tmp_path: Path) -> None:
    whole, divided = plan_of(tmp_path), plan_of(tmp_path, "strategy: ddp, processes: 4")
    assert [stage.id for stage in whole.stages] == [stage.id for stage in divided.stages]
    assert [one.id for one in whole.experiments] == [one.id for one in divided.experiments]
    assert executions(divided) == {
        ("pretrain", "single", 1),
        ("train", "ddp", 4),
        ("evaluate", "single", 1),
    }
    assert len({id(stage.execution) for stage in divided.stages if stage.name == "train"}) == 1


def test_a_cluster_gives_one_process_to_each_gpu(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "strategy: ddp", "gpus: 2, cpus: 4")
    assert ("train", "ddp", 2) in executions(plan)


@pytest.mark.parametrize(
    ("execution", "resources", "words"),
    [
        ("processes: 2", "cpus: 1", "`processes: 2` needs a `strategy` such as 'ddp'"),
        ("strategy: ddp, processes: 3", "cpus: 1", "3 processes cannot share `batch_size: 16` evenly"),
        ("strategy: ddp", "gpus: 0.5", "needs whole GPUs"),
        ("strategy: ddp, processes: 2", "gpus: 4", "`processes: 2` and `gpus: 4` differ"),
        ("strategy: zero2", "cpus: 1", "not 'zero2'"),
        ("offload: optimizer", "cpus: 1", "`offload: optimizer` is for 'deepspeed-zero2'"),
        ("strategy: deepspeed-zero2, processes: 2, offload: weights", "cpus: 1", "or 'deepspeed-zero3'"),
        ("offload: gpu", "cpus: 1", "not 'gpu'"),
    ],
)
def test_what_cannot_be_divided_is_refused_where_it_stands(
    tmp_path: Path, execution: str, resources: str, words: str
) -> None:
    with pytest.raises(GridError) as raised:
        plan_of(tmp_path, execution, resources)
    assert words in str(raised.value)
    assert "grid.yaml:" in str(raised.value)
    assert "'train'" in str(raised.value)
    assert len(raised.value.problems) == 1


def test_a_kind_that_runs_as_one_process_says_so(tmp_path: Path) -> None:
    text = replaced(EVALUATE, EVALUATE + "    execution: {strategy: ddp, processes: 2}\n", SMALL)
    with pytest.raises(GridError, match="a stage of kind 'evaluate' runs as one process"):
        plan_grid(load_grid(write(tmp_path, text)))


def test_a_kind_that_is_not_compiled_says_so_beside_the_setting(tmp_path: Path) -> None:
    text = replaced(EVALUATE, EVALUATE + "    execution:\n      compile: true\n", SMALL)
    with pytest.raises(GridError, match="a stage of kind 'evaluate' is not compiled") as raised:
        plan_grid(load_grid(write(tmp_path, text)))
    line = next(number for number, each in enumerate(text.splitlines(), 1) if "compile: true" in each)
    assert f"grid.yaml:{line}" in str(raised.value)


def test_ids_know_neither_compiling_nor_offloading(tmp_path: Path) -> None:
    whole = plan_of(tmp_path)
    for execution in ("compile: true", "strategy: deepspeed-zero3, processes: 2, offload: weights"):
        other = plan_of(tmp_path, execution)
        assert [stage.id for stage in whole.stages] == [stage.id for stage in other.stages]


def test_the_command_line_sets_it(tmp_path: Path) -> None:
    options = ["pipeline.train.execution.strategy=ddp", "pipeline.train.execution.processes=2"]
    assert ("train", "ddp", 2) in executions(plan_of(tmp_path, overrides=options))
