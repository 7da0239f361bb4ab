"""The warm child, as its supervisor holds it: a real process, two pipes, a log."""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from results.files import WorkspaceError, json_bytes, write_atomic
from results.layout import Workspace
from tests.results.lab import commit, metric
from tests.support.grids import index_of, start_supervisor, submit_toys
from tests.support.oddities import ODD, OddRecipe
from tests.support.toys import TOY, ToyRecipe
from workers import nursery
from workers.context import BadInput, TransientFailure
from workers.endings import classify
from workers.failures import CHILD_KILLED
from workers.kinds import Kind
from workers.nursery import ChildProcess
from workers.outputs import digest_of
from workers.recipe import Execution
from workers.stage import Stage

ROOT = Path(__file__).parents[2]
NOWHERE = "no_such_module:KIND"
LAST = ("finished", "stopped", "failed")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "runs")


@pytest.fixture
def child(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChildProcess]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    child = ChildProcess(workspace, workspace.logs / "child.log", [TOY.runner])
    yield child
    child.kill()
    child.close()


def toy(*parents: Stage, **settings: Any) -> Stage:
    return Stage.create(TOY, ToyRecipe(**settings), tuple(("parent", parent.id) for parent in parents))


def odd(way: str = "", seed: int = 0) -> Stage:
    return Stage.create(ODD, OddRecipe(way=way, seed=seed))


def hand_over(child: ChildProcess, workspace: Workspace, stage: Stage, token: str = "token") -> None:
    stage.write(workspace)
    command = {"stage": stage.id, "token": token, "resume_from": None, "hub_map": {}}
    child.run({**command, "execution": Execution().model_dump(mode="json")})


def events_until(child: ChildProcess, *names: str) -> list[dict[str, Any]]:
    """What the child says up to the first message called one of `names`, or until it is dead."""
    found: list[dict[str, Any]] = []
    end = time.monotonic() + 60.0
    while not any(message["event"] in names for message in found) and child.alive:
        assert time.monotonic() < end, "waited in vain"
        found += child.receive(0.1)
    return found


def outcome(child: ChildProcess, workspace: Workspace, stage: Stage) -> dict[str, Any]:
    hand_over(child, workspace, stage)
    return events_until(child, *LAST)[-1]


def death(child: ChildProcess) -> dict[str, Any]:
    events_until(child, "never")
    return child.death()


def test_a_finished_stage_is_told_with_its_result_and_the_digest_of_its_output(
    workspace: Workspace, child: ChildProcess
) -> None:
    stage = toy(value=2.5, steps=2)
    last = outcome(child, workspace, stage)
    assert (last["event"], last["outcome"], last["message"]) == ("finished", "done", None)
    assert [row["value"] for row in last["metrics"]] == [2.5]
    output = workspace.output(stage.id, "token")
    assert last["output_digest"] == digest_of(output)
    assert [path.name for path in output.iterdir()] == ["value.txt"]
    assert last["seconds"]["other"] >= 0
    assert last["peak_memory_bytes"] > 1 << 20
    assert last["peak_gpu_memory_bytes"] is None


def test_being_ready_gives_the_fingerprint_and_the_start_is_counted_once(
    workspace: Workspace, child: ChildProcess
) -> None:
    outcome(child, workspace, toy())
    assert child.fingerprint["python"]
    assert child.take_startup_seconds() > 0
    assert child.take_startup_seconds() == 0


def test_the_last_step_is_always_told(workspace: Workspace, child: ChildProcess) -> None:
    hand_over(child, workspace, toy(steps=5))
    steps = [message["step"] for message in events_until(child, *LAST) if message["event"] == "progress"]
    assert steps == sorted(set(steps)) and steps[-1] == 5


def test_one_process_serves_stage_after_stage_and_remembers(
    workspace: Workspace, child: ChildProcess
) -> None:
    rows = [outcome(child, workspace, odd(seed=seed))["metrics"][0] for seed in range(3)]
    assert [row["value"] for row in rows] == [1.0, 2.0, 3.0]
    assert len({row["n"] for row in rows}) == 1
    assert child.stages == 3


def test_a_failure_leaves_the_child_alive_for_the_next(workspace: Workspace, child: ChildProcess) -> None:
    last = outcome(child, workspace, toy(fault="bug"))
    assert (last["event"], last["ending"], last["message"]) == (
        "failed",
        "bug",
        "ValueError: a bug in line 42",
    )
    assert "_go_wrong" in last["traceback"]
    assert outcome(child, workspace, toy(value=3.0))["event"] == "finished"
    assert "_go_wrong" in (workspace.logs / "child.log").read_text()


def test_results_of_parents_arrive(workspace: Workspace, child: ChildProcess) -> None:
    parent = toy(value=4.0)
    parent.write(workspace)
    done = commit(parent.id, "winner", [metric("toy", 4.0)])
    write_atomic(workspace.done_file(parent.id), json_bytes(done))
    assert outcome(child, workspace, toy(parent, value=1.0))["metrics"][0]["value"] == 5.0


def test_a_parent_that_is_not_committed_is_a_matter_of_waiting(
    workspace: Workspace, child: ChildProcess
) -> None:
    parent = toy(value=4.0)
    parent.write(workspace)
    last = outcome(child, workspace, toy(parent))
    assert (last["event"], last["ending"]) == ("failed", "transient")
    assert f"parent {parent.id} in role parent" in last["message"]


def test_a_request_to_stop_reaches_the_stage_and_not_the_one_after(
    workspace: Workspace, child: ChildProcess
) -> None:
    hand_over(child, workspace, toy(steps=2000, pause=0.02))
    events_until(child, "progress")
    child.ask_to_stop()
    assert events_until(child, *LAST)[-1]["event"] == "stopped"
    assert outcome(child, workspace, toy(value=2.0))["event"] == "finished"


def test_an_interrupt_from_the_terminal_is_left_to_the_supervisor(
    workspace: Workspace, child: ChildProcess
) -> None:
    hand_over(child, workspace, toy(steps=20, pause=0.02))
    events_until(child, "progress")
    os.kill(child._process.pid, signal.SIGINT)
    assert events_until(child, *LAST)[-1]["event"] == "finished"


def test_what_a_stage_prints_goes_to_the_log_alone(workspace: Workspace, child: ChildProcess) -> None:
    hand_over(child, workspace, odd("prints"))
    (last,) = events_until(child, *LAST)
    assert last["message"] == "prints"
    child.close()
    text = (workspace.logs / "child.log").read_text()
    assert "complained by the stage" in text
    child._commands, child._reader.descriptor = os.pipe()


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("exits", "SystemExit: 3"),
        ("interrupts", "KeyboardInterrupt:"),
        ("unspeakable", "TypeError"),
        ("infinite", "ValueError"),
        ("perhaps", "ValueError"),
    ],
)
def test_a_stage_cannot_end_its_worker_by_an_exception_or_by_what_it_returns(
    workspace: Workspace, child: ChildProcess, way: str, message: str
) -> None:
    last = outcome(child, workspace, odd(way))
    assert (last["event"], last["ending"]) == ("failed", "bug")
    assert last["message"].startswith(message)
    assert child.alive


def test_a_killed_child_is_lost_and_nobody_is_blamed(workspace: Workspace, child: ChildProcess) -> None:
    hand_over(child, workspace, toy(fault="kill"))
    ended = death(child)
    assert ended["ending"] == "lost"
    assert ended["message"].startswith(CHILD_KILLED)


def test_only_a_kill_that_the_kernel_counted_is_out_of_memory(
    workspace: Workspace, child: ChildProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = nursery.out_of_memory_kills()
    monkeypatch.setattr(nursery, "out_of_memory_kills", lambda: counted + 1)
    hand_over(child, workspace, toy(fault="kill"))
    assert death(child)["ending"] == "host_out_of_memory"


@pytest.mark.parametrize(
    ("stage", "how"),
    [(toy(fault="crash"), "signal 6"), (odd("vanishes"), "exit code 3")],
    ids=["abort", "exit"],
)
def test_a_crash_is_a_bug_with_the_end_of_the_log(
    workspace: Workspace, child: ChildProcess, stage: Stage, how: str
) -> None:
    with open(workspace.logs / "child.log", "a") as log:
        log.write("the last words\n")
    hand_over(child, workspace, stage)
    ended = death(child)
    assert (ended["ending"], ended["message"]) == ("bug", f"the worker process died ({how})")
    assert "the last words" in ended["traceback"]


def test_a_module_that_cannot_be_imported_costs_its_own_stages_only(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    child = ChildProcess(workspace, workspace.logs / "child.log", ["no_such_module:run", TOY.runner])
    broken = replace(toy(), kind=Kind("toy", 1, ToyRecipe, "no_such_module:run", reference=NOWHERE))
    try:
        assert outcome(child, workspace, toy(value=2.0))["event"] == "finished"
        last = outcome(child, workspace, replace(broken, id="ff" * 16))
        assert (last["event"], last["ending"]) == ("failed", "bad_input")
        assert "no module named 'no_such_module'" in last["message"]
    finally:
        child.close()
    assert "No module named 'no_such_module'" in (workspace.logs / "child.log").read_text()


def test_handing_a_stage_to_a_dead_child_finds_it_dead(workspace: Workspace, child: ChildProcess) -> None:
    child.kill()
    child._process.wait()
    hand_over(child, workspace, toy())
    assert not child.alive
    assert child.death()["ending"] == "lost"


def test_closing_ends_an_idle_child_and_a_deaf_one(workspace: Workspace, child: ChildProcess) -> None:
    hand_over(child, workspace, odd("deaf"))
    events_until(child, "progress")
    started = time.monotonic()
    child.close()
    assert not child.alive
    assert time.monotonic() - started < 5.0
    assert child._process.returncode == 0
    child._commands, child._reader.descriptor = os.pipe()


def test_libraries_start_with_one_thread(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    start = subprocess.Popen

    def watched(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        given.update(options["env"])
        return start(command, **options)

    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    monkeypatch.setattr(subprocess, "Popen", watched)
    ChildProcess(workspace, workspace.logs / "child.log", []).close()
    assert {given[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {"1"}


def test_a_metric_that_cannot_be_committed_is_the_stages_own_failure(workspace: Workspace) -> None:
    infinite, sound = odd("infinite"), odd(seed=1)
    process = start_supervisor(workspace, submit_toys(workspace, [infinite, sound]), linger=1.0)
    assert process.wait(60) == 0
    index = index_of(workspace)
    assert sound.id in index.done
    assert infinite.id not in index.open


class OutOfMemoryError(RuntimeError):
    """Named like torch's, which is told by its name because nothing here imports torch."""


@pytest.mark.parametrize(
    ("error", "ending", "message"),
    [
        (BadInput("no such file: data.jsonl"), "bad_input", "no such file: data.jsonl"),
        (WorkspaceError("unknown stage kind 'x'"), "bad_input", "unknown stage kind 'x'"),
        (TransientFailure("the hub is busy"), "transient", "the hub is busy"),
        (TransientFailure(), "transient", "TransientFailure:"),
        (ConnectionResetError(errno.ECONNRESET, "reset by peer"), "transient", "[Errno 104] reset by peer"),
        (TimeoutError("no answer"), "transient", "no answer"),
        (OSError(errno.ENOSPC, "No space left"), "transient", "a full, failing or stale filesystem"),
        (OSError(errno.EDQUOT, "Quota exceeded"), "transient", "a full, failing or stale filesystem"),
        (OSError(errno.ESTALE, "Stale file handle"), "transient", "a full, failing or stale filesystem"),
        (OSError(errno.EIO, "Input/output error"), "transient", "a full, failing or stale filesystem"),
        (
            RuntimeError("PytorchStreamWriter failed writing file data/0"),
            "transient",
            "a full, failing or stale",
        ),
        (
            ValueError("I/O error: No space left on device (os error 28)"),
            "transient",
            "a full, failing or stale",
        ),
        (ValueError("I/O error: no such thing (os error 2)"), "bug", "os error 2"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), "bug", "FileNotFoundError"),
        (PermissionError(errno.EACCES, "denied"), "bug", "PermissionError"),
        (MemoryError(), "host_out_of_memory", "MemoryError:"),
        (
            OutOfMemoryError("CUDA out of memory. Tried 2 GiB\nmore"),
            "gpu_out_of_memory",
            "CUDA out of memory. Tried 2 GiB",
        ),
        (
            RuntimeError("CUDA error: device-side assert"),
            "bug",
            "RuntimeError: CUDA error: device-side assert",
        ),
        (KeyError("label"), "bug", "KeyError: 'label'"),
        (AssertionError(), "bug", "AssertionError:"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_the_class_of_an_exception(error: BaseException, ending: str, message: str) -> None:
    found, said = classify(error)
    assert found == ending
    assert message in said
    assert "\n" not in said


def test_a_very_long_message_is_cut() -> None:
    assert len(classify(ValueError("x" * 10_000))[1]) <= 500
