"""Several processes for one stage: their numbers, their failures, their signals, and that none is left over."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from results.files import read_json
from results.layout import Workspace
from tests.support.commands import ROOT
from tests.support.grids import index_of, start_supervisor, submit_toys
from tests.support.sums import SUM, SumRecipe
from tests.support.together import Team, divided, largest_curve_difference, largest_difference, stage_of
from tests.support.training import SFT, Lab, base_of, lora, sft_recipe
from workers.checkpoints import newest_checkpoint
from workers.context import StageStopped
from workers.endings import ProcessesFailed
from workers.failures import CHILD_KILLED
from workers.recipe import Execution
from workers.stage import Stage

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("workspace"))


def team(lab: Lab, token: str = "a", **settings: object) -> Team:
    others = {name: settings.pop(name) for name in ("kill", "stop") if name in settings}
    stage = lab.stage(SUM, SumRecipe(**settings))
    return Team(lab, stage, divided("ddp"), token, **others)


def test_two_processes_train_to_the_numbers_of_one(lab: Lab) -> None:
    """Equal micro-batches are computed, in another order of sums; dropout is off."""
    base = base_of(lab)
    recipe = sft_recipe(adapter=lora().model_copy(update={"dropout": 0.0}))
    one = lab.run(SFT, recipe, (base,), execution=Execution(device="cpu", micro_batch=2))
    two = Team(lab, stage_of(lab, SFT, recipe, (base,)), divided("ddp", checkpoint_steps=3), "two").run()
    assert largest_difference(two.output, one.output) < TOLERANCE
    assert largest_curve_difference(two.output, one.output) < TOLERANCE
    assert two.value("trained_tokens") == one.value("trained_tokens")
    assert {path.name for path in two.output.iterdir()} == {path.name for path in one.output.iterdir()}
    attempt = two.output.parent
    assert sorted(path.name for path in attempt.iterdir()) == ["attempt.json", "checkpoints", "output"]
    assert (attempt / "checkpoints" / "000006" / "rng_state_1.pth").is_file()


def test_all_processes_see_one_sum_and_only_the_first_reports(lab: Lab) -> None:
    together = team(lab, steps=3)
    ran = together.run()
    assert ran.value("value") == 9.0
    assert together.steps == [1, 2, 3]
    assert (ran.output / "sum.txt").read_text() == "9.0"
    assert not (ran.output.parent / "ranks").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_is_lost_ends_the_others_and_the_stage_goes_on(lab: Lab, rank: int) -> None:
    first = team(lab, f"killed{rank}", fault="kill", rank=rank, at=3, seed=rank)
    with pytest.raises(ProcessesFailed, match=f"process {rank} of 2, signal 9") as raised:
        first.run()
    assert raised.value.ending == "lost"
    assert str(raised.value).startswith(CHILD_KILLED)
    assert not any(psutil.pid_exists(member) for member in first.members)
    assert newest_checkpoint(lab.workspace, first.stage.id).name == "000002"
    again = Team(lab, first.stage, first.execution, f"again{rank}")
    assert again.run().value("value") == 12.0
    assert again.steps == [3, 4]


@pytest.mark.parametrize(
    ("fault", "ending"),
    [("bug", "bug"), ("bad input", "bad_input"), ("gpu memory", "gpu_out_of_memory"), ("exit", "bug")],
)
def test_the_failure_that_began_it_is_told_not_what_followed(lab: Lab, fault: str, ending: str) -> None:
    with pytest.raises(ProcessesFailed) as raised:
        team(lab, fault=fault, seed=7).run()
    assert raised.value.ending == ending
    told = f"{raised.value} {raised.value.traceback}"
    assert "process 1 of 2" in told
    assert "peer" not in str(raised.value)


def test_all_processes_stop_after_one_step_and_go_on_from_there(lab: Lab) -> None:
    first = team(lab, "stopped", steps=40, pause=0.02, seed=8, stop=3)
    with pytest.raises(StageStopped):
        first.run()
    checkpoint = newest_checkpoint(lab.workspace, first.stage.id)
    assert int(checkpoint.name) >= 3
    assert {path.name for path in checkpoint.iterdir()} >= {"rank0.txt", "rank1.txt"}
    again = Team(lab, first.stage, first.execution, "rest")
    assert again.run().value("value") == 120.0
    assert again.steps[0] == int(checkpoint.name) + 1


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "runs")


def started(workspace: Workspace, **settings: object) -> tuple[Stage, object]:
    """A supervisor at work on one stage of two processes."""
    stage = Stage.create(SUM, SumRecipe(**settings))
    submission = submit_toys(workspace, [stage], execution=divided("ddp"))
    return stage, start_supervisor(workspace, submission, linger=5.0)


def wait_for_step(workspace: Workspace, stage: Stage, step: int) -> None:
    deadline = time.monotonic() + 60
    while not (found := newest_checkpoint(workspace, stage.id)) or int(found.name) < step:
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.1)


def descendants(process: int) -> list[psutil.Process]:
    return psutil.Process(process).children(recursive=True)


def test_temporary_directories_may_have_long_names(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sockets may not: a cluster's TMPDIR for one job can be longer than their names."""
    long = tmp_path / ("job-" * 25)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    stage, supervisor = started(workspace)
    assert supervisor.wait(120) == 0
    done = read_json(workspace.done_file(stage.id))
    assert done["metrics"][0]["value"] == 12.0


def test_under_a_supervisor_a_killed_process_costs_no_attempt(workspace: Workspace) -> None:
    stage, supervisor = started(workspace, fault="kill", at=3)
    assert supervisor.wait(120) == 0
    done = read_json(workspace.done_file(stage.id))
    assert done["metrics"][0]["value"] == 12.0
    assert done["record"]["fingerprint"]["strategy"] == "ddp"
    assert done["record"]["fingerprint"]["processes"] == 2
    assert done["record"]["resumed_from"] == 2
    assert done["record"]["peak_memory_bytes"] > 0
    [lost] = index_of(workspace).endings[stage.id]
    assert lost["ending"] == "lost"


@pytest.mark.slow
def test_preemption_saves_in_every_process_and_ends_them(workspace: Workspace) -> None:
    """SIGTERM comes to every process of the job, as a cluster sends it."""
    stage, supervisor = started(workspace, steps=400, pause=0.05)
    wait_for_step(workspace, stage, 2)
    everyone = descendants(supervisor.pid)
    for process in everyone:
        process.send_signal(signal.SIGTERM)
    supervisor.send_signal(signal.SIGTERM)
    supervisor.wait(60)
    assert psutil.wait_procs(everyone, timeout=20)[1] == []
    [ended] = index_of(workspace).endings[stage.id]
    assert ended["ending"] == "preempted"
    assert newest_checkpoint(workspace, stage.id).name == f"{ended['step']:06d}"


@pytest.mark.slow
@pytest.mark.parametrize("who", ["supervisor", "child"])
def test_no_process_outlives_who_started_it(workspace: Workspace, who: str) -> None:
    stage, supervisor = started(workspace, steps=4000, pause=0.05)
    wait_for_step(workspace, stage, 2)
    everyone = descendants(supervisor.pid)
    child = psutil.Process(supervisor.pid).children()[0]
    os.kill(supervisor.pid if who == "supervisor" else child.pid, signal.SIGKILL)
    try:
        assert psutil.wait_procs(everyone, timeout=20)[1] == []
    finally:
        supervisor.kill()
        supervisor.wait()


BLOCKED = """
import multiprocessing, multiprocessing.forkserver as forkserver, sys, time
from workers.ranks import _cluster_signals_held

if __name__ == "__main__":
    start = multiprocessing.get_context(sys.argv[1])
    with _cluster_signals_held():
        process = start.Process(target=time.sleep, args=(60,), daemon=True)
        process.start()
    for number in (process.pid, forkserver._forkserver._forkserver_pid):
        if number is not None:
            print(next(line for line in open(f"/proc/{number}/status") if line.startswith("SigBlk")).split()[1])
    process.kill()
"""


@pytest.mark.parametrize(("start", "processes"), [("spawn", 1), ("forkserver", 2)])
def test_the_first_process_started_holds_the_signals_of_a_cluster_from_its_first_moment(
    tmp_path: Path, start: str, processes: int
) -> None:
    script = tmp_path / "blocked.py"
    script.write_text(BLOCKED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = subprocess.run(
        [sys.executable, script, start], env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()
    assert [bool(int(mask, 16) & 1 << signal.SIGTERM - 1) for mask in said] == [True] * processes
