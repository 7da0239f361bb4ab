"""Submitting a plan: stages and plan are on disk first, and only what is unfinished goes to the backend."""

from pathlib import Path

import pytest

from orchestrator.grid import load_grid
from orchestrator.plan import Plan, plan_grid
from orchestrator.submit import submit_plan
from results.files import WorkspaceError, publish_once
from results.layout import Workspace
from results.plans import read_plans
from tests.orchestrator.lab import FakeBackend, Lab
from workers.stage import Stage

TOYS = """
study: toys
name: "{size}/s{seed}"
factors: {size: [1, 2], seed: [0, 1]}
blocks: {all: {product: {size: all, seed: all}}}
pipeline:
  root: {kind: "tests.support.toys:TOY", recipe: {seed: 0, value: "${size}"}, show: false}
  leaf:
    kind: "tests.support.toys:TOY"
    parents: {parent: root}
    recipe: {value: 0.5}
    execution: {micro_batch: "${size}"}
"""


def toys(directory: Path, text: str = TOYS, **choices: object) -> Plan:
    path = directory / "toys.yaml"
    path.write_text(text)
    return plan_grid(load_grid(path, **choices))  # type: ignore[arg-type]


@pytest.fixture
def empty(tmp_path) -> Lab:
    """A workspace in which nothing was planned, with a worker."""
    return Lab(Workspace(tmp_path / "runs"), [])


def finish(lab: Lab, plan: Plan, *indices: int) -> None:
    """Commit stages of a plan by their place in it."""
    for index in indices:
        attempt = lab._worker.claim(plan.stages[index].id, "toy", {})
        assert attempt is not None
        attempt.end("preempted")
        lab.workspace.done_file(plan.stages[index].id).parent.mkdir(exist_ok=True)
        lab._worker.journal.committed(plan.stages[index].id, attempt.record["token"])


def test_a_worker_can_read_every_stage_and_status_the_plan(empty: Lab, tmp_path) -> None:
    plan, backend = toys(tmp_path), FakeBackend()
    submission = submit_plan(empty.workspace, plan, backend)
    assert submission is not None and backend.started == [submission]
    assert [Stage.read(empty.workspace, stage.id) for stage in plan.stages] == [
        plan.stage(index) for index in range(6)
    ]
    (record,) = read_plans(empty.workspace)
    assert record.experiments == plan.record().experiments
    assert (empty.workspace.plans / f"{submission.plan}.json").is_file()


def test_everything_goes_out_with_its_execution_and_parents_first(empty: Lab, tmp_path) -> None:
    plan = toys(tmp_path)
    submission = submit_plan(empty.workspace, plan, FakeBackend(), {"org/m": "/m"})
    assert submission is not None
    assert {stage.stage for stage in submission.stages} == {stage.id for stage in plan.stages}
    assert all(parent < number for number, stage in enumerate(submission.stages) for parent in stage.parents)
    used = {stage.stage: submission.executions[stage.execution] for stage in submission.stages}
    assert used == {stage.id: stage.execution for stage in plan.stages}
    assert submission.hub_map == {"org/m": "/m"}


def test_submitting_again_submits_what_is_unfinished_only(empty: Lab, tmp_path) -> None:
    plan = toys(tmp_path)
    finish(empty, plan, 0, 1, 2)
    submission = submit_plan(empty.workspace, plan, FakeBackend())
    assert submission is not None
    assert {stage.stage for stage in submission.stages} == {stage.id for stage in plan.stages[3:]}


def test_when_all_is_done_the_plan_is_noted_and_nothing_is_started(empty: Lab, tmp_path) -> None:
    plan, backend = toys(tmp_path), FakeBackend()
    finish(empty, plan, *range(6))
    assert submit_plan(empty.workspace, plan, backend) is None
    assert backend.started == []
    assert len(read_plans(empty.workspace)) == 1


def test_a_selection_submits_its_experiments_and_the_parents_that_they_need(empty: Lab, tmp_path) -> None:
    plan = toys(tmp_path, where="size == 1 and seed == 0")
    submission = submit_plan(empty.workspace, plan, FakeBackend())
    assert submission is not None and len(submission.stages) == 2
    assert [one.row.name for one in empty.view().experiments.values()] == ["1/s0"]


def test_a_selection_does_not_submit_the_rest_of_an_earlier_plan(empty: Lab, tmp_path) -> None:
    submit_plan(empty.workspace, toys(tmp_path), FakeBackend())
    submission = submit_plan(empty.workspace, toys(tmp_path, where="seed == 1"), FakeBackend())
    assert submission is not None and len(submission.stages) == 4
    assert len(empty.view().experiments) == 4


def test_a_changed_grid_submits_only_what_it_adds(empty: Lab, tmp_path) -> None:
    plan = toys(tmp_path)
    finish(empty, plan, *range(6))
    larger = toys(tmp_path, TOYS.replace("size: [1, 2]", "size: [1, 2, 3]"))
    submission = submit_plan(empty.workspace, larger, FakeBackend())
    assert submission is not None
    assert {stage.stage for stage in submission.stages} == {stage.id for stage in larger.stages} - {
        stage.id for stage in plan.stages
    }


def test_submitting_again_lifts_a_cancellation(empty: Lab, tmp_path) -> None:
    plan = toys(tmp_path)
    publish_once(empty.workspace.tombstone(plan.stages[0].id), b"")
    submit_plan(empty.workspace, plan, FakeBackend())
    assert not empty.workspace.tombstone(plan.stages[0].id).exists()


def test_a_stage_that_is_on_disk_is_not_written_again(empty: Lab, tmp_path) -> None:
    plan = toys(tmp_path)
    submit_plan(empty.workspace, plan, FakeBackend())
    before = {path: path.stat().st_mtime_ns for path in empty.workspace.stages.glob("*/*/stage.json")}
    submit_plan(empty.workspace, plan, FakeBackend())
    assert before == {path: path.stat().st_mtime_ns for path in empty.workspace.stages.glob("*/*/stage.json")}
    assert len(before) == 6


def test_a_workspace_that_cannot_be_written_starts_nothing(tmp_path) -> None:
    blocked = tmp_path / "runs"
    blocked.write_text("a file, not a directory")
    backend = FakeBackend()
    with pytest.raises(WorkspaceError, match=r"runs: the workspace cannot be written \(Not a directory\)"):
        submit_plan(Workspace(blocked), toys(tmp_path), backend)
    assert backend.started == []
