"""What is done about jobs that Slurm holds after a failed launch, seen by the commands that are called."""

from pathlib import Path

import pytest

from cluster.slurm.queue import Element, Queue
from cluster.slurm.records import JobRecord, release_stuck
from cluster.slurm.report import QueueReport
from results.journal import Journal
from results.layout import Workspace
from tests.cluster.slurm.test_commands import script
from workers.recipe import Execution
from workers.submission import Submission, SubmittedBundle, SubmittedStage

HELD = "launch failed requeued held"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Two stages in two bundles, sent as the array 12; the first stage is done. Commands write down their calls."""
    for command in ("scontrol", "scancel"):
        script(tmp_path, command, f'echo {command} "$@" >> {tmp_path}/calls')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    workspace = Workspace(tmp_path / "runs")
    stages = tuple(SubmittedStage(name * 32, "toy", (), "cpu", "", 1.0, 0) for name in "ab")
    bundles = (SubmittedBundle("first", "cpu", (0,)), SubmittedBundle("second", "cpu", (1,)))
    Submission("s1", 0.0, "slurm", "", "", stages, (Execution(),), bundles).write(workspace)
    JobRecord("s1", "0", "yates-a", (0, 1), 60.0, 0.0, "12").write(workspace)
    Journal(workspace, "w").committed("a" * 32, "token")
    return workspace


def calls(workspace: Workspace) -> list[str]:
    path = workspace.root.parent / "calls"
    return path.read_text().splitlines() if path.exists() else []


def element(task: int, reason: str, name: str = "yates-a") -> Element:
    return Element("12", task, name, "PENDING", reason, "", 1)


def test_what_is_left_to_do_is_released_and_what_is_done_is_cancelled(workspace: Workspace) -> None:
    release_stuck(workspace, Queue((element(0, HELD), element(1, HELD))))
    assert calls(workspace) == ["scancel 12_0", "scontrol release 12_1"]


@pytest.mark.parametrize("reason", ["Resources", "JobHeldUser", "JobHeldAdmin"])
def test_other_waiting_jobs_are_left_alone(workspace: Workspace, reason: str) -> None:
    release_stuck(workspace, Queue((element(0, reason), element(1, reason))))
    assert calls(workspace) == []


def test_jobs_of_others_are_left_alone(workspace: Workspace) -> None:
    release_stuck(workspace, Queue((element(1, HELD, name="somebody's"),)))
    assert calls(workspace) == []


def test_an_array_whose_submission_cannot_be_read_is_released(workspace: Workspace) -> None:
    (workspace.submissions / "s1.json").unlink()
    release_stuck(workspace, Queue((element(0, HELD),)))
    assert calls(workspace) == ["scontrol release 12_0"]


def test_a_person_is_told_what_lets_them_run() -> None:
    assert "`yates resume` releases" in QueueReport(pending={HELD: 8}).lines[-1]
    assert len(QueueReport(pending={"Resources": 8}).lines) == 1
