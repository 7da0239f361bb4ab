"""What the finished stages of a workspace say of estimates, read from plans, commits and stages on disk."""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from orchestrator.grid import load_grid
from orchestrator.measurements import MOST_OF_A_KIND, samples
from orchestrator.plan import Plan, plan_grid
from orchestrator.summary import plan_summary, print_plan
from results.files import json_bytes, write_atomic
from results.journal import Journal
from results.layout import Workspace
from results.plans import write_plan
from tests.orchestrator.grids import many, write
from tests.results.lab import commit

GIGABYTE = 10**9


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "runs")


def plan_of(directory: Path, workspace: Workspace | None = None, seeds: int = 2, **overrides: str) -> Plan:
    text = many({"seed": list(range(seeds)), "rate": [0.001, 0.002]})
    path = write(directory, text)
    given = [f"{key.replace('__', '.')}={value}" for key, value in overrides.items()]
    return plan_grid(load_grid(path, overrides=given), workspace=workspace)


def finish(
    workspace: Workspace, plan: Plan, factors: Mapping[str, float], peak: int | None = None, **record: Any
) -> None:
    """Commit the stages of the kinds in `factors`; each took so many times what its plan expects."""
    write_plan(workspace, plan.record())
    journal = Journal(workspace, "writer")
    for number, stage in enumerate(plan.stages):
        plan.stage(number).write(workspace)
        if stage.kind.name not in factors:
            continue
        made = commit(stage.id, "token", [])
        seconds = {"compute": factors[stage.kind.name] * stage.cost, "startup": 99.0}
        execution = stage.execution.model_dump(mode="json")
        own = {"kind": stage.kind.name, "seconds": seconds, "execution": execution, "peak_memory_bytes": peak}
        own["fingerprint"] = {"gpu": "NVIDIA A100" if stage.resources.gpus else ""}
        made["record"].update({**own, **record})  # type: ignore[typeddict-item]
        write_atomic(workspace.done_file(stage.id), json_bytes(made))
        journal.committed(stage.id, "token", record.get("ending", "done"))


def costs(plan: Plan) -> dict[str, float]:
    return {stage.kind.name: stage.cost for stage in plan.stages}


def test_a_plan_takes_the_attempts_of_its_workspace_into_account(
    tmp_path: Path, workspace: Workspace
) -> None:
    before = plan_of(tmp_path)
    finish(workspace, before, {"sft": 3.0, "evaluate": 0.5})
    after = plan_of(tmp_path, workspace)
    assert costs(after)["sft"] == pytest.approx(3 * costs(before)["sft"], rel=1e-3)
    assert costs(after)["evaluate"] == pytest.approx(costs(before)["evaluate"] / 2, rel=2e-3)
    assert costs(after)["pretrain"] == costs(before)["pretrain"], "no attempt at one was measured"
    assert [stage.id for stage in after.stages] == [stage.id for stage in before.stages]
    assert after.calibration.applied == sum(stage.kind.name != "pretrain" for stage in before.stages)


def test_a_plan_with_other_costs_is_the_same_plan(tmp_path: Path, workspace: Workspace) -> None:
    before = plan_of(tmp_path)
    finish(workspace, before, {"sft": 3.0})
    digest = write_plan(workspace, before.record())
    assert write_plan(workspace, plan_of(tmp_path, workspace).record()) == digest
    assert len(list(workspace.plans.glob("*.json"))) == 1


def test_there_need_not_be_a_workspace(tmp_path: Path, workspace: Workspace) -> None:
    assert costs(plan_of(tmp_path, workspace)) == costs(plan_of(tmp_path))
    assert not workspace.root.exists(), "to plan writes nothing"


@pytest.mark.parametrize(
    "ending", [{"resumed_from": 10}, {"ending": "diverged"}, {"execution": {"speed": 3}}]
)
def test_attempts_that_say_nothing(tmp_path: Path, workspace: Workspace, ending: dict[str, Any]) -> None:
    """Begun by others, cut short, or of another version."""
    before = plan_of(tmp_path)
    finish(workspace, before, {"sft": 3.0}, **ending)
    assert costs(plan_of(tmp_path, workspace)) == costs(before)


def test_damaged_files_cost_only_what_they_held(tmp_path: Path, workspace: Workspace) -> None:
    before = plan_of(tmp_path)
    finish(workspace, before, {"sft": 3.0, "evaluate": 2.0})
    trained, evaluated = (
        next(one.id for one in before.stages if one.kind.name == kind) for kind in ("sft", "evaluate")
    )
    workspace.done_file(trained).write_text("{")
    workspace.stage_file(evaluated).write_text(json.dumps({"kind": "gone"}))
    (workspace.plans / "damaged.json").write_text("{}")
    after = plan_of(tmp_path, workspace)
    assert costs(after)["sft"] == pytest.approx(3 * costs(before)["sft"], rel=1e-3)
    assert workspace.done_file(trained).read_text() == "{", "a plan repairs nothing"
    # neither it nor the stages that stand on the one that cannot be read
    assert after.calibration.applied == sum(one.kind.name != "pretrain" for one in before.stages) - 2


def test_of_many_attempts_a_few_are_read(tmp_path: Path, workspace: Workspace) -> None:
    finish(workspace, plan_of(tmp_path, seeds=40), {"sft": 3.0})
    assert plan_of(tmp_path, workspace).calibration.applied == MOST_OF_A_KIND


def test_memory_that_was_held_raises_what_is_needed(tmp_path: Path, workspace: Workspace) -> None:
    before = plan_of(tmp_path)
    counted = {row["stage"]: row["gigabytes"] for row in plan_summary(before)["memory"]}
    finish(workspace, before, {"sft": 1.0}, peak=int(1.5 * counted["train"] * GIGABYTE))
    needs = {row["stage"]: row["gigabytes"] for row in plan_summary(plan_of(tmp_path, workspace))["memory"]}
    assert needs["train"] == pytest.approx(1.5 * counted["train"], rel=0.01)
    assert needs["pretrain"] == counted["pretrain"]


def test_on_a_gpu_its_own_memory_counts(tmp_path: Path, workspace: Workspace) -> None:
    asked = {"pipeline__train__resources": "{gpus: 1, gpu_memory_gb: 40}"}
    before = plan_of(tmp_path, **asked)
    counted = next(row["gigabytes"] for row in plan_summary(before)["memory"] if row["stage"] == "train")
    finish(
        workspace, before, {"sft": 1.0}, peak=50 * GIGABYTE, peak_gpu_memory_bytes=int(2 * counted * GIGABYTE)
    )
    needs = plan_summary(plan_of(tmp_path, workspace, **asked))["memory"]
    assert next(row["gigabytes"] for row in needs if row["stage"] == "train") == pytest.approx(
        2 * counted, rel=0.01
    )


def test_an_attempt_elsewhere_than_planned_says_nothing(tmp_path: Path, workspace: Workspace) -> None:
    """Ids do not know of resources: what ran on a CPU was not slow on the GPU that is asked for now."""
    before = plan_of(tmp_path)
    finish(workspace, before, {"sft": 3.0})
    asked = {"pipeline__train__resources": "{gpus: 1, gpu_memory_gb: 40}"}
    on_gpus = plan_of(tmp_path, **asked)
    write_plan(workspace, dataclasses.replace(on_gpus.record(), created=time.time() + 60))
    assert costs(plan_of(tmp_path, workspace, **asked)) == costs(on_gpus)
    assert samples_of(workspace) == 0


def samples_of(workspace: Workspace) -> int:
    return len(list(samples(workspace, lambda model: None)))


def test_a_stage_that_several_plans_list_counts_once(tmp_path: Path, workspace: Workspace) -> None:
    plan = plan_of(tmp_path)
    finish(workspace, plan, {"sft": 3.0})
    once = samples_of(workspace)
    write_plan(workspace, dataclasses.replace(plan.record(), preset="other"))
    assert samples_of(workspace) == once > 0


def _cycle(stage: Path) -> None:
    content = json.loads(stage.read_text())
    stage.write_text(json.dumps({**content, "parents": [["base", content["id"]]]}))


def _took(done: Path, seconds: object) -> None:
    content = json.loads(done.read_text())
    content["record"]["seconds"]["compute"] = seconds
    done.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "damage",
    [
        lambda stage, done: stage.write_text("[]"),
        lambda stage, done: (stage.unlink(), stage.mkdir()),
        lambda stage, done: stage.unlink(),
        lambda stage, done: _cycle(stage),
        lambda stage, done: done.write_text("[1]"),
        lambda stage, done: done.write_text(json.dumps({"record": None})),
        lambda stage, done: _took(done, -4.0),
        lambda stage, done: _took(done, None),
        lambda stage, done: _took(done, 0.0),
        lambda stage, done: _took(done, "long"),
    ],
)
def test_whatever_is_wrong_with_a_stage_a_plan_goes_on(
    tmp_path: Path, workspace: Workspace, damage: Callable[[Path, Path], object]
) -> None:
    before = plan_of(tmp_path)
    finish(workspace, before, {"sft": 3.0})
    for stage in before.stages:
        if stage.kind.name == "sft":
            damage(workspace.stage_file(stage.id), workspace.done_file(stage.id))
    assert costs(plan_of(tmp_path, workspace)) == costs(before)


def test_whatever_is_wrong_with_a_workspace_a_plan_goes_on(tmp_path: Path, workspace: Workspace) -> None:
    before = plan_of(tmp_path)
    finish(workspace, before, {"sft": 3.0})
    [path] = workspace.plans.glob("*.json")
    content = json.loads(path.read_text())
    for shapes in ({"cpu1-mem2g": {"cpus": 1, "speed": 7}}, {"cpu1-mem2g": [1]}, []):
        path.write_text(json.dumps({**content, "shapes": shapes}))
        assert costs(plan_of(tmp_path, workspace)) == costs(before)
    rmtree(workspace.plans)
    workspace.plans.write_text("not a folder")
    assert costs(plan_of(tmp_path, workspace)) == costs(before)


def test_it_is_said_how_many_attempts_count(
    tmp_path: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    finish(workspace, plan_of(tmp_path), {"sft": 3.0})
    print_plan(plan_summary(plan_of(tmp_path, workspace)))
    assert "4 measured attempts at stages like these correct times and memory" in capsys.readouterr().out
    print_plan(plan_summary(plan_of(tmp_path)))
    assert "measured attempts" not in capsys.readouterr().out
