"""Driver records, what `status` makes of them, and what a backend concludes from them."""

import dataclasses
from pathlib import Path

import pytest

from cluster.backend import Unreachable
from cluster.ray.backend import RayBackend
from cluster.ray.driver import ancestors
from cluster.ray.records import DriverRecord, read_driver, read_drivers
from cluster.ray.report import ray_report
from cluster.ray.service import RayError, _answers
from results.files import WorkspaceError
from results.journal import Index
from results.layout import Workspace
from tests.support.grids import submit_toys
from tests.support.toys import TOY, ToyRecipe
from workers.attempts import Claimant
from workers.processes import ProcessIdentity
from workers.stage import Stage
from workers.submission import Submission, register_supervisor

HERE = ProcessIdentity.own()
DEAD = dataclasses.replace(HERE, process=2**22 - 1, started=1.0)
ELSEWHERE = dataclasses.replace(HERE, host="another-machine")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "runs")


def toy(parent: Stage | None = None, value: float = 1.0) -> Stage:
    return Stage.create(TOY, ToyRecipe(value=value), (("parent", parent.id),) if parent else ())


def submitted(workspace: Workspace, *stages: Stage) -> Submission:
    """A submission to Ray."""
    submission = dataclasses.replace(submit_toys(workspace, list(stages)), backend="ray")
    submission.write(workspace)
    return submission


def record(process: ProcessIdentity | None = HERE, name: str = "one", **others: object) -> DriverRecord:
    identity = {} if process is None else process.as_record()
    return DriverRecord(name, f"yates-{name}", "http://head:8265", identity, **others)  # type: ignore[arg-type]


def test_a_record_reads_back(workspace: Workspace) -> None:
    written = record(actors={"gpu1": 2}, waiting={"gpu2": 1}, trouble="none")
    written.write(workspace)
    assert read_driver(workspace, "one") == written
    assert list(read_drivers(workspace)) == [written]


def test_damaged_and_foreign_records_are_passed_over(workspace: Workspace) -> None:
    record().write(workspace)
    (workspace.drivers / "half.json").write_text('{"submission": ')
    (workspace.drivers / "later.json").write_text('{"submission": "later", "news": 1}')
    assert [one.submission for one in read_drivers(workspace)] == ["one"]
    with pytest.raises(WorkspaceError, match=r"later\.json cannot be used"):
        read_driver(workspace, "later")


def test_the_report_names_what_runs_and_what_waits(workspace: Workspace) -> None:
    assert ray_report(workspace) is None
    record(actors={"gpu1": 2, "cpu1": 0}, waiting={"gpu2": 1}).write(workspace)
    record(None, "two").write(workspace)
    report = ray_report(workspace)
    assert report is not None
    assert report.lines == [
        "ray: driver yates-one: actors: 2 gpu1; waiting to be placed: 1 gpu2",
        "ray: driver yates-two: its driver has not begun",
    ]


def test_the_report_tells_what_the_last_driver_died_of(workspace: Workspace) -> None:
    record(over=True, trouble="no actor starts: no such file").write(workspace)
    report = ray_report(workspace)
    assert report is not None
    assert report.lines == ["ray: no actor starts: no such file"]
    assert report.as_json()["drivers"] == []


class Silent:
    """A cluster that does not answer."""

    def __init__(self, address: str) -> None:
        raise Unreachable(f"no answer at {address}")


class Answering:
    """A cluster that knows the state of every job."""

    known: dict[str, str] = {}

    def __init__(self, address: str) -> None:
        pass

    def status(self, job: str) -> str | None:
        return self.known.get(job)


@pytest.mark.parametrize(
    ("process", "over", "state", "lives"),
    [
        (HERE, False, None, True),
        (DEAD, False, "RUNNING", False),  # its process is looked up, Ray's word counts less
        (HERE, True, "RUNNING", False),
        (ELSEWHERE, False, "RUNNING", True),
        (ELSEWHERE, False, "FAILED", False),
        (ELSEWHERE, False, None, False),  # a head that was restarted knows no job
        (None, False, "PENDING", True),
    ],
)
def test_whether_a_driver_lives(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, process, over: bool, state: str | None, lives: bool
) -> None:
    monkeypatch.setattr("cluster.ray.backend.RayService", Answering)
    monkeypatch.setattr(Answering, "known", {"yates-one": state} if state else {})
    record(process, over=over).write(workspace)
    assert RayBackend(workspace=workspace).live(workspace) == (["yates-one"] if lives else [])


def test_silence_proves_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.ray.backend.RayService", Silent)
    submission = submitted(workspace, toy())
    record(ELSEWHERE, submission.id).write(workspace)
    backend = RayBackend(workspace=workspace)
    assert backend.covered(workspace) == {one.stage for one in submission.stages}
    backend.settle(workspace)
    assert backend.lives({**ELSEWHERE.as_record(), "submission": submission.id}) is None


def test_what_a_dead_drivers_actors_held_is_lost(workspace: Workspace) -> None:
    submission = submitted(workspace, toy())
    record(DEAD, submission.id).write(workspace)
    claimant = Claimant(workspace, "actor", "ray", None, identity=ELSEWHERE)
    register_supervisor(workspace, submission, 0, "actor", ELSEWHERE)
    stage = submission.stages[0].stage
    assert claimant.claim(stage, "toy", {}) is not None
    RayBackend(workspace=workspace).settle(workspace)
    index = Index(workspace)
    index.refresh()
    assert index.ending(stage) == "lost"
    assert not index.open
    assert not list(workspace.supervisors.glob("*.json"))


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ConnectionError("refused"), Unreachable, "no Ray cluster answers at http://head:8265 (refused)"),
        (RuntimeError("Request failed with status code 500: sorry"), Unreachable, "status code 500"),
        (type("AuthenticationError", (Exception,), {})("no"), RayError, "wants a token"),
        (RayError("as it was"), RayError, "as it was"),
    ],
)
def test_rays_ways_of_refusing_are_told_apart(error: Exception, kind: type, words: str) -> None:
    with pytest.raises(kind) as caught, _answers("http://head:8265"):
        raise error
    assert words in str(caught.value)


def test_a_mistake_of_ours_is_not_taken_for_silence() -> None:
    with pytest.raises(KeyError), _answers("http://head:8265"):
        raise KeyError("ours")


def test_ancestors(workspace: Workspace) -> None:
    root = toy()
    middle = toy(root, value=2.0)
    leaf = toy(middle, value=3.0)
    submission = submitted(workspace, root, middle, leaf, toy(value=9.0))
    assert ancestors(submission, [2]) == {0, 1}
    assert ancestors(submission, [0, 3]) == set()
