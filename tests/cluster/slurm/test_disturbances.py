"""Whatever happens to its jobs, a grid on Slurm ends complete, identical, and from its checkpoints."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.lab.lab import Lab
from tests.support.commands import assert_same_store
from tests.support.counting import assert_committed_once, assert_kept_its_checkpoints
from tests.support.slurm import Study

LONG = {"steps": 20, "pause": 0.5, "seeds": 2}


@pytest.fixture
def long_study(lab: Lab, tmp_path: Path) -> Study:
    """Four experiments of ten seconds."""
    return Study(lab, tmp_path / "study", **LONG)


def started(study: Study, *options: object) -> Study:
    """Submit the grid and wait until leaves have taken steps."""
    study.submit(*options)
    study.wait(study.running, 60, "a leaf to take steps")
    return study


def assert_whole(study: Study, undisturbed: dict, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The grid is complete, equal to one that ran in peace, and nothing was computed twice or from zero."""
    study.wait_until_done()
    study.wait_until_quiet()
    key = (study.sizes, study.seeds, study.steps)
    if key not in undisturbed:
        directory = tmp_path_factory.mktemp("undisturbed")
        undisturbed[key] = dataclasses.replace(study, directory=directory).run_here().root
    assert_same_store(undisturbed[key], study.root)
    assert_kept_its_checkpoints(study)
    assert_committed_once(study)


def node_of_a_job(study: Study) -> str:
    """A node on which one of the study's jobs runs."""
    return next(node for _, state, node in study.queue() if state == "RUNNING")


def preempt(study: Study) -> None:
    """Fill all nodes from the partition that goes before."""
    study.lab.call(
        "sbatch",
        "--partition=main",
        "--nodes=4",
        "--exclusive",
        "--time=2",
        "--wrap=sleep 5",
        "-o",
        "/dev/null",
    )
    study.wait(lambda: len(study.queue("%i")) and no_job_runs(study), 60, "the jobs to be preempted")


def no_job_runs(study: Study) -> bool:
    return not any(name.startswith("yates") and state == "RUNNING" for name, state in study.queue("%j", "%T"))


def requeue(study: Study) -> None:
    """An administrator puts every running job back into the queue."""
    for job, state, _ in study.queue():
        if state == "RUNNING":
            study.lab.call("scontrol", "requeue", job)


def cancel_half(study: Study) -> None:
    """Half of the array is cancelled from outside."""
    jobs = [job for job, state, _ in study.queue() if "_" in job]
    study.lab.call("scancel", *jobs[: max(1, len(jobs) // 2)])


def crash_node(study: Study) -> None:
    """A node loses power, and comes back."""
    node = node_of_a_job(study)
    study.lab.crash_node(node)
    time.sleep(3)
    study.lab.start_node(node)


def cut_node(study: Study) -> None:
    """A node's daemon dies while its job computes on; the controller gives the job to another node."""
    node = node_of_a_job(study)
    study.lab.cut_node(node)
    study.wait(lambda: not any(where == node for _, _, where in study.queue()), 60, "the node to be given up")
    study.lab.start_node(node)


def kill_accounting(study: Study) -> None:
    """slurmdbd is gone."""
    study.lab._kill("slurmdbd")
    cancel_half(study)


def test_real_preemption(long_study: Study, undisturbed, tmp_path_factory) -> None:
    long_study.partition = "low"
    preempt(started(long_study))
    assert_whole(long_study, undisturbed, tmp_path_factory)


@pytest.mark.slow
def test_preemption_that_cancels(long_study: Study, undisturbed, tmp_path_factory) -> None:
    long_study.partition = "cancelling"
    preempt(started(long_study))
    assert_whole(long_study, undisturbed, tmp_path_factory)


@pytest.mark.parametrize(
    "disturb", [requeue, cancel_half, pytest.param(kill_accounting, marks=pytest.mark.slow)]
)
def test_jobs_that_go_away(
    disturb: Callable[[Study], None], long_study: Study, undisturbed, tmp_path_factory
) -> None:
    disturb(started(long_study))
    assert_whole(long_study, undisturbed, tmp_path_factory)


@pytest.mark.parametrize("disturb", [crash_node, cut_node])
def test_nodes_that_die(
    disturb: Callable[[Study], None], long_study: Study, undisturbed, tmp_path_factory
) -> None:
    disturb(started(long_study))
    assert_whole(long_study, undisturbed, tmp_path_factory)


def test_a_real_time_out(lab: Lab, tmp_path: Path, undisturbed, tmp_path_factory) -> None:
    """A stage that takes longer than the limit of its job saves itself, and goes on in the next."""
    study = Study(lab, tmp_path / "study", sizes=1, seeds=1, steps=110, pause=0.5, profile={"hours": 1 / 60})
    started(study)
    assert_whole(study, undisturbed, tmp_path_factory)


def test_the_controller_dies_just_after_sbatch(study: Study, undisturbed, tmp_path_factory) -> None:
    """The jobs may be lost with it; `resume` sees what the queue holds and sends what it does not."""
    study.submit()
    study.lab.kill_controller()
    answer = study.status()
    assert answer["failed"] == 0 and answer["slurm"]["unreachable"]
    study.lab.start_controller()
    time.sleep(2)
    study.yates("resume")
    study.wait_until_done()
    study.wait_until_quiet(150, advised=True)
    assert_whole(study, undisturbed, tmp_path_factory)
