"""Which logs belong to an experiment."""

from pathlib import Path

from orchestrator.logs import log_files
from tests.orchestrator.lab import Lab


def write_logs(lab: Lab, *names: str) -> None:
    lab.workspace.logs.mkdir(exist_ok=True)
    for name in names:
        (lab.workspace.logs / f"{name}.log").write_text(f"the log of {name}\n")


def logs(lab: Lab, experiment: str) -> list[str]:
    view = lab.view()
    return [path.stem for path in log_files(view, view.find(experiment))]


def test_the_logs_of_the_workers_that_tried_its_own_stages(lab: Lab) -> None:
    write_logs(lab, "worker-1", "worker-2", "worker-3")
    lab.finish("base")
    lab.worker("worker-2")
    lab.finish("train-sft-0")
    lab.worker("worker-3")
    lab.finish("train-dpo-0")
    assert logs(lab, "sft/s0") == ["worker-2"]
    assert logs(lab, "dpo/s0") == ["worker-3"]


def test_every_try_counts_oldest_first_and_a_worker_once(lab: Lab) -> None:
    write_logs(lab, "worker-1", "worker-2")
    lab.worker("worker-2")
    lab.fail("train-sft-0", ending="preempted")
    lab.worker("worker-1")
    lab.fail("train-sft-0", ending="preempted")
    lab.finish("train-sft-0", "eval-sft-0")
    assert logs(lab, "sft/s0") == ["worker-2", "worker-1"]


def test_an_experiment_that_nobody_tried_has_no_logs(lab: Lab) -> None:
    write_logs(lab, "worker-1")
    assert logs(lab, "sft/s0") == []


def test_logs_that_are_gone_and_damaged_attempts_are_passed_over(lab: Lab) -> None:
    write_logs(lab, "worker-1")
    damaged = lab.fail("train-sft-0", ending="preempted")
    lab.worker("worker-2")
    lab.fail("train-sft-0", ending="preempted")
    lab.worker("worker-1")
    lab.finish("train-sft-0")
    (damaged.directory / "attempt.json").write_text("{")
    assert logs(lab, "sft/s0") == ["worker-1"]
    Path(lab.workspace.logs / "worker-1.log").unlink()
    assert logs(lab, "sft/s0") == []
