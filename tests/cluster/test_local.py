"""The local backend: supervisors on this machine's cores, detached, found again by whoever asks."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.backend import find_backend
from cluster.local import LocalBackend
from results.files import WorkspaceError, json_bytes, read_json, write_atomic
from results.layout import Workspace
from tests.support.grids import ROOT, index_of, submit_toys
from tests.support.toys import TOY, ToyRecipe
from workers.processes import ProcessIdentity
from workers.stage import Stage


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A workspace whose supervisors are gone afterwards."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    workspace = Workspace(tmp_path / "runs")
    yield workspace
    for path in workspace.supervisors.glob("*.json"):
        with suppress(OSError, WorkspaceError):
            record = read_json(path)
            if record["process"] != os.getpid() and ProcessIdentity.from_record(record).lives():
                os.kill(record["process"], signal.SIGKILL)


def toys(count: int, **settings: Any) -> list[Stage]:
    return [Stage.create(TOY, ToyRecipe(value=float(number), **settings)) for number in range(count)]


def register(workspace: Workspace, name: str, identity: ProcessIdentity, backend: str = "local") -> Path:
    path = workspace.supervisors / f"{name}.json"
    write_atomic(path, json_bytes({**identity.as_record(), "name": name, "backend": backend}))
    return path


def dead() -> ProcessIdentity:
    return replace(ProcessIdentity.own(), started=1.0)


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_slots_are_the_cores_unless_the_person_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YATES_LOCAL_SLOTS", raising=False)
    assert 1 <= LocalBackend().slots({}) <= (os.cpu_count() or 1)
    monkeypatch.setenv("YATES_LOCAL_SLOTS", "7")
    assert LocalBackend().slots({}) == 7
    assert LocalBackend(cores=3).slots({}) == 3


def test_every_bundle_runs_and_the_caller_does_not_wait(workspace: Workspace) -> None:
    stages = toys(4, steps=2, pause=0.1)
    submission = submit_toys(workspace, stages, bundles=2)
    started = time.monotonic()
    assert LocalBackend(cores=2).start(workspace, submission) == 2
    assert time.monotonic() - started < 1.0
    wait_for(lambda: len(index_of(workspace).done) == 4)
    wait_for(lambda: not LocalBackend().live(workspace))
    assert list(workspace.supervisors.iterdir()) == []
    assert {path.stem for path in workspace.logs.iterdir()} == {f"{submission.id}-{n:04d}" for n in range(2)}


def test_fewer_slots_than_bundles_still_finish_everything(workspace: Workspace) -> None:
    submission = submit_toys(workspace, toys(3), bundles=3)
    assert LocalBackend(cores=1).start(workspace, submission) == 1
    wait_for(lambda: len(index_of(workspace).done) == 3)


@pytest.mark.parametrize(("cores", "living", "expected"), [(3, 1, 2), (2, 2, 0), (1, 4, 0), (9, 0, 4)])
def test_supervisors_that_live_take_up_slots(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, cores: int, living: int, expected: int
) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(
        LocalBackend, "_start_one", lambda self, workspace, submission, bundle: chosen.append(bundle)
    )
    for number in range(living):
        register(workspace, f"s{number}", ProcessIdentity.own())
    submission = submit_toys(workspace, toys(4), bundles=4)
    assert LocalBackend(cores=cores).start(workspace, submission) == expected
    assert chosen == list(range(expected))


def test_whoever_was_just_started_takes_a_slot_at_once(workspace: Workspace) -> None:
    submission = submit_toys(workspace, toys(2, steps=10, pause=0.05), bundles=2)
    backend = LocalBackend(cores=1)
    assert [backend.start(workspace, submission) for _ in range(3)] == [1, 0, 0]
    assert backend.live(workspace) == [f"{submission.id}-0000"]
    wait_for(lambda: len(index_of(workspace).done) == 2)


def test_the_dead_are_cleared_away_and_the_unknown_are_left(workspace: Workspace) -> None:
    alive = register(workspace, "alive", ProcessIdentity.own())
    gone = register(workspace, "gone", dead())
    elsewhere = register(workspace, "elsewhere", replace(dead(), host="another-node"))
    foreign = register(workspace, "foreign", dead(), backend="slurm")
    assert LocalBackend().live(workspace) == ["alive"]
    assert [path.exists() for path in (alive, gone, elsewhere, foreign)] == [True, False, True, True]


def test_a_damaged_file_of_a_supervisor_hides_no_other(workspace: Workspace) -> None:
    register(workspace, "z", ProcessIdentity.own())
    (workspace.supervisors / "a.json").write_bytes(b'{"name": ')
    assert LocalBackend().live(workspace) == ["z"]


def test_nobody_lives_in_an_empty_workspace(workspace: Workspace) -> None:
    assert LocalBackend().live(workspace) == []
    assert LocalBackend().stop(workspace) == 0


def test_stopping_lets_supervisors_record_and_end(workspace: Workspace) -> None:
    (stage,) = toys(1, steps=2000, pause=0.02)
    submission = submit_toys(workspace, [stage])
    backend = LocalBackend(cores=1)
    backend.start(workspace, submission)
    wait_for(lambda: stage.id in index_of(workspace).open)
    (name,) = backend.live(workspace)
    assert name == f"{submission.id}-0000"
    assert backend.stop(workspace) == 1
    wait_for(lambda: not backend.live(workspace))
    assert index_of(workspace).endings[stage.id][-1]["ending"] == "preempted"


def test_supervisors_outlive_the_process_that_started_them(workspace: Workspace) -> None:
    (stage,) = toys(1, steps=20, pause=0.05)
    submission = submit_toys(workspace, [stage])
    code = (
        "import sys; from pathlib import Path; from cluster.local import LocalBackend\n"
        "from results.layout import Workspace; from workers.submission import Submission\n"
        "workspace = Workspace(Path(sys.argv[1]))\n"
        "LocalBackend(cores=1).start(workspace, Submission.read(workspace, sys.argv[2]))\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(workspace.root), submission.id], check=True, start_new_session=True
    )
    wait_for(lambda: stage.id in index_of(workspace).done)


def test_a_supervisor_is_in_a_session_of_its_own_and_runs_the_submitted_code(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def watched(command: list[str], **options: Any) -> SimpleNamespace:
        given.update(options, command=command)
        return SimpleNamespace(pid=os.getpid())

    monkeypatch.setattr(subprocess, "Popen", watched)
    submission = replace(submit_toys(workspace, toys(1)), code="abc123")
    LocalBackend(cores=1).start(workspace, submission)
    assert given["start_new_session"] is True
    assert given["env"]["YATES_CODE"] == "abc123"
    assert given["env"]["PYTHONPATH"].split(os.pathsep)[0] == str((workspace.code / "abc123").resolve())
    assert given["command"][1:3] == ["-m", "workers.supervisor"]
    assert json.dumps(given["command"])  # only strings: nothing of this process goes along


@pytest.mark.parametrize("name", ["local"])
def test_every_backend_does_what_backends_do(name: str, workspace: Workspace) -> None:
    backend = find_backend(name)
    assert backend.name == name
    assert (backend.live(workspace), backend.stop(workspace)) == ([], 0)
    assert (backend.covered(workspace), backend.cancel(workspace, {"a"})) == (set(), 0)


@pytest.mark.parametrize(
    ("name", "said"), [("locale", r"did you mean 'local'\?"), ("cloud", "allowed: .*local")]
)
def test_an_unknown_backend_is_named_with_those_that_there_are(name: str, said: str) -> None:
    with pytest.raises(WorkspaceError, match=f"unknown backend '{name}'.*{said}"):
        find_backend(name)
