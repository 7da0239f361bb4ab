"""The bundle runner as real processes: order, faults, signals, kills."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from results.files import read_json
from results.journal import Journal
from results.layout import Workspace
from tests.support.commands import ROOT
from tests.support.grids import index_of, start_supervisor, submit_toys, supervisor_command
from tests.support.toys import TOY, ToyRecipe, Weight
from workers.recipe import Execution
from workers.stage import Stage


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "runs")


def toy(*parents: Stage, **settings: object) -> Stage:
    return Stage.create(TOY, ToyRecipe(**settings), tuple(("parent", parent.id) for parent in parents))


def run(workspace: Workspace, stages: list[Stage], **options: object) -> int:
    submission = submit_toys(workspace, stages, **options)
    return start_supervisor(workspace, submission).wait(120)


def value(workspace: Workspace, stage: Stage) -> float:
    return read_json(workspace.done_file(stage.id))["metrics"][0]["value"]


def test_parents_run_before_children_and_their_results_arrive(workspace: Workspace) -> None:
    first, second = toy(value=2.0), toy(value=3.0)
    child = toy(first, second, value=10.0)
    assert run(workspace, [first, second, child]) == 0
    assert value(workspace, child) == 15.0


def test_all_stages_run_in_one_warm_child(workspace: Workspace) -> None:
    stages = [toy(value=float(number)) for number in range(5)]
    run(workspace, stages)
    records = [read_json(workspace.done_file(stage.id))["record"] for stage in stages]
    assert len({record["supervisor"] for record in records}) == 1
    assert sum(record["seconds"]["startup"] > 0 for record in records) == 1
    assert all({"code", "processor", "python"} <= record["fingerprint"].keys() for record in records)


@pytest.mark.parametrize(("fault", "ending"), [("bug", "bug"), ("bad input", "bad_input"), ("crash", "bug")])
def test_a_failure_is_recorded_with_its_class_and_not_retried(
    workspace: Workspace, fault: str, ending: str
) -> None:
    broken, sound = toy(fault=fault), toy(value=7.0)
    child = toy(broken)
    assert run(workspace, [broken, child, sound]) == 0
    index = index_of(workspace)
    assert [record["ending"] for record in index.endings[broken.id]] == [ending]
    assert sound.id in index.done
    assert child.id not in index.done and child.id not in index.endings


def test_a_killed_child_is_not_charged_and_the_stage_runs_again(workspace: Workspace) -> None:
    stage = toy(fault="kill", once=True, value=4.0)
    run(workspace, [stage])
    index = index_of(workspace)
    assert [record["ending"] for record in index.endings[stage.id]] == ["lost"]
    assert value(workspace, stage) == 4.0


def test_a_stage_that_kills_its_worker_each_time_is_given_up(workspace: Workspace) -> None:
    stage = toy(fault="kill")
    run(workspace, [stage])
    assert [record["ending"] for record in index_of(workspace).endings[stage.id]] == ["lost"] * 5


def test_gpu_out_of_memory_halves_the_micro_batch_down_to_one(workspace: Workspace) -> None:
    stage = toy(fault="gpu memory", training=Weight(steps=1, batch_size=8))
    run(workspace, [stage], execution=Execution(micro_batch=8))
    sizes = [record["execution"]["micro_batch"] for record in index_of(workspace).endings[stage.id]]
    assert sizes == [8, 4, 2, 1]


def test_a_full_disk_is_retried_and_then_failed(workspace: Workspace) -> None:
    once, always = toy(fault="disk", once=True), toy(fault="disk", value=2.0)
    run(workspace, [once, always])
    index = index_of(workspace)
    assert once.id in index.done
    assert [record["ending"] for record in index.endings[always.id]] == ["transient"] * 4


def test_a_hanging_stage_is_killed_and_tried_once_more(workspace: Workspace) -> None:
    stage = toy(fault="hang")
    run(workspace, [stage], execution=Execution(hang_seconds=1.0))
    assert [record["ending"] for record in index_of(workspace).endings[stage.id]] == ["hung", "hung"]


def test_divergence_is_a_result_and_blocks_the_children(workspace: Workspace) -> None:
    stage = toy(fault="diverge")
    child = toy(stage)
    run(workspace, [stage, child])
    index = index_of(workspace)
    assert stage.id in index.diverged and stage.id in index.done
    assert child.id not in index.done


def test_many_alike_failures_hold_the_rest_of_their_kind(workspace: Workspace) -> None:
    broken = [toy(fault="bug", value=float(number)) for number in range(3)]
    sound = toy(value=9.0)
    run(workspace, [*broken, sound])
    assert sound.id not in index_of(workspace).done


def test_the_record_of_a_failure_has_the_last_step_although_not_every_step_is_told(
    workspace: Workspace,
) -> None:
    stage = toy(fault="bug", steps=9, at=7)
    start_supervisor(workspace, submit_toys(workspace, [stage])).wait(60)
    assert index_of(workspace).endings[stage.id][-1]["step"] == 7


SLOW_SUMS = """
import time
from workers import supervisor

checked = supervisor.newest_checkpoint
supervisor.newest_checkpoint = lambda *arguments: (time.sleep(6), checked(*arguments))[1]
supervisor.main()
"""


def test_the_heart_beats_while_the_sums_of_a_checkpoint_are_checked(workspace: Workspace) -> None:
    """Longer than a beat; the stage itself is over before the first one."""
    stage = toy()
    command = supervisor_command(workspace, submit_toys(workspace, [stage]))
    command[1:3] = ["-c", SLOW_SUMS]
    subprocess.run(command, cwd=ROOT, timeout=60, check=True)
    assert len(list(workspace.attempts(stage.id).glob("*/heartbeat"))) == 1


def test_sigterm_stops_the_stage_and_a_later_supervisor_finishes(workspace: Workspace) -> None:
    stage = toy(steps=40, pause=0.05)
    submission = submit_toys(workspace, [stage])
    process = start_supervisor(workspace, submission)
    wait_for(lambda: stage.id in index_of(workspace).open)
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert index_of(workspace).endings[stage.id][-1]["ending"] == "preempted"
    start_supervisor(workspace, submission).wait(60)
    assert stage.id in index_of(workspace).done


def test_a_tombstone_stops_a_running_stage(workspace: Workspace) -> None:
    stage, other = toy(steps=400, pause=0.05), toy(value=5.0)
    process = start_supervisor(workspace, submit_toys(workspace, [stage, other]))
    wait_for(lambda: stage.id in index_of(workspace).open)
    workspace.tombstones.mkdir(parents=True, exist_ok=True)
    workspace.tombstone(stage.id).touch()
    assert process.wait(60) == 0
    index = index_of(workspace)
    assert index.endings[stage.id][-1]["ending"] == "cancelled"
    assert other.id in index.done


def test_two_supervisors_at_once_commit_every_stage_once(workspace: Workspace) -> None:
    stages = [toy(value=float(number), steps=2, pause=0.02) for number in range(30)]
    submission = submit_toys(workspace, stages)
    processes = [start_supervisor(workspace, submission) for _ in range(3)]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    index = index_of(workspace)
    assert index.done.keys() == {stage.id for stage in stages}
    assert not any(
        record["ending"] == "superseded" for records in index.endings.values() for record in records
    )


def test_the_child_ends_when_its_supervisor_is_killed(workspace: Workspace) -> None:
    stage = toy(steps=400, pause=0.05)
    process = start_supervisor(workspace, submit_toys(workspace, [stage]))
    wait_for(lambda: stage.id in index_of(workspace).open)
    wait_for(lambda: bool(psutil.Process(process.pid).children()))
    child = psutil.Process(process.pid).children()[0]
    process.kill()
    process.wait()
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_kills_at_random_lose_nothing_and_double_nothing(workspace: Workspace) -> None:
    """Supervisors and children die at random moments until all is done; then every stage is there once."""
    generator = random.Random(7)
    roots = [toy(value=float(number), steps=3, pause=0.03) for number in range(12)]
    children = [toy(root, value=0.5, steps=2, pause=0.03) for root in roots]
    submission = submit_toys(workspace, [*roots, *children])
    for _ in range(12):
        processes = [start_supervisor(workspace, submission) for _ in range(2)]
        time.sleep(generator.uniform(0.2, 1.2))
        for process in processes:
            kill_something(process, generator)
        for process in processes:
            process.kill()
            process.wait()
    release_all(workspace)  # on a busy machine one stage may have been hit so often that it counts as deadly
    assert start_supervisor(workspace, submission).wait(120) == 0
    assert [value(workspace, child) for child in children] == [number + 0.5 for number in range(12)]
    assert len(index_of(workspace).done) == 24


def release_all(workspace: Workspace) -> None:
    """Forgive every failure, as `yates resume --release` does."""
    index = index_of(workspace)
    journal = Journal(workspace, "release")
    for stage in index.endings.keys() - index.done.keys():
        journal.released(stage, [record["token"] for record in index.standing(stage)])


def kill_something(process: "subprocess.Popen[bytes]", generator: random.Random) -> None:
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
        os.kill(generator.choice(family).pid, signal.SIGKILL)
    except (psutil.NoSuchProcess, ProcessLookupError):
        pass


def wait_for(condition: object, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
