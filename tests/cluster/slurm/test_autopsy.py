"""How dead jobs ended: what Slurm reports decides the class, its silence never does."""

from dataclasses import replace
from pathlib import Path

import pytest

from cluster.slurm import autopsy
from cluster.slurm.autopsy import bad_nodes, forgive_nodes, losses, perform
from cluster.slurm.queue import Ended
from results.files import json_bytes, write_atomic
from results.journal import Index
from results.layout import Workspace
from workers.attempts import Attempt, Claimant
from workers.failures import verdict
from workers.processes import ProcessIdentity

ELSEWHERE = ProcessIdentity("n1", "boot", 4711, 0.0)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "runs")


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Ended]]:
    """What the accounting says, by element; a test fills it in."""
    rows: dict[str, list[Ended]] = {}
    monkeypatch.setattr(autopsy, "read_accounting", lambda jobs: rows)
    return rows


def job(
    workspace: Workspace, name: str, stage: str = "s" * 32, node: str = "n1", job: str = "12_0"
) -> Attempt:
    """A supervisor of a job on a node, in the middle of a stage."""
    claimant = Claimant(workspace, name, "slurm", job, replace(ELSEWHERE, host=node))
    record = {"name": name, "backend": "slurm", "job": job, "node": node, **claimant.identity.as_record()}
    write_atomic(workspace.supervisors / f"{name}.json", json_bytes(record))
    attempt = claimant.claim(stage, "sft", {})
    assert attempt is not None
    attempt.record["step"] = 7
    attempt.beat()
    return attempt


def examined(workspace: Workspace, **lives: bool | None) -> Index:
    index = Index(workspace)
    index.refresh()
    perform(workspace, index, lives)
    index.refresh()
    return index


def run(state: str, node: str = "n1") -> Ended:
    return Ended("12_0", state, "0:0", "", "", node)


@pytest.mark.parametrize(
    ("state", "ending"),
    [
        ("TIMEOUT", "timeout"),
        ("OUT_OF_MEMORY", "host_out_of_memory"),
        ("PREEMPTED", "preempted"),
        ("CANCELLED", "preempted"),
        ("NODE_FAIL", "lost"),
        ("FAILED", "lost"),
        ("COMPLETED", "lost"),
    ],
)
def test_the_accounting_gives_the_class(workspace: Workspace, ended: dict, state: str, ending: str) -> None:
    job(workspace, "w1")
    ended["12_0"] = [run(state)]
    (record,) = examined(workspace, w1=False).standing("s" * 32)
    assert (record["ending"], record["step"]) == (ending, 7)
    assert record["message"]


def test_silence_is_a_loss_which_counts_against_no_stage(workspace: Workspace, ended: dict) -> None:
    job(workspace, "w1")
    index = examined(workspace, w1=False)
    (record,) = index.standing("s" * 32)
    assert record["ending"] == "lost" and "does not say" in record["message"]
    assert verdict(index.standing("s" * 32)) == "again"


@pytest.mark.parametrize("lives", [True, None])
def test_what_lives_or_cannot_be_asked_is_left_alone(
    workspace: Workspace, ended: dict, lives: bool | None
) -> None:
    job(workspace, "w1")
    ended["12_0"] = [run("TIMEOUT")]
    index = examined(workspace, w1=lives)
    assert index.standing("s" * 32) == [] and "s" * 32 in index.open


def test_the_accounting_is_asked_again_while_it_lags(
    workspace: Workspace, ended: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    job(workspace, "w1")
    ended["12_0"] = [run("RUNNING")]
    monkeypatch.setattr(autopsy.time, "sleep", lambda seconds: ended.update({"12_0": [run("OUT_OF_MEMORY")]}))
    (record,) = examined(workspace, w1=False).standing("s" * 32)
    assert record["ending"] == "host_out_of_memory"


def test_of_several_runs_the_one_on_its_node_is_meant(workspace: Workspace, ended: dict) -> None:
    job(workspace, "w1", node="n2")
    ended["12_0"] = [run("TIMEOUT", "n2"), run("COMPLETED", "n3")]
    (record,) = examined(workspace, w1=False).standing("s" * 32)
    assert record["ending"] == "timeout"


def test_better_knowledge_replaces_what_a_neighbour_took_for_lost(workspace: Workspace, ended: dict) -> None:
    attempt = job(workspace, "w1")
    lost = attempt.record.copy()
    lost["ending"] = "lost"
    Claimant(workspace, "w2", "slurm", None).journal.ended(lost)
    ended["12_0"] = [run("OUT_OF_MEMORY")]
    (record,) = examined(workspace, w1=False).standing("s" * 32)
    assert record["ending"] == "host_out_of_memory"


def test_a_second_look_changes_nothing(workspace: Workspace, ended: dict) -> None:
    job(workspace, "w1")
    first = examined(workspace, w1=False).standing("s" * 32)
    ended["12_0"] = [run("TIMEOUT")]
    assert examined(workspace, w1=False).standing("s" * 32) == first


def lose(workspace: Workspace, node: str, times: int) -> None:
    """A node fails under several jobs."""
    for number in range(times):
        name = f"{node}-{number}"
        job(workspace, name, f"{name:0<32}", node)
        examined(workspace, **{name: False})


def test_a_node_that_loses_three_jobs_is_left_out(workspace: Workspace, ended: dict) -> None:
    ended["12_0"] = [run("NODE_FAIL", "n1"), run("NODE_FAIL", "n2")]
    lose(workspace, "n1", 3)
    lose(workspace, "n2", 2)
    assert losses(workspace) == {"n1": 3, "n2": 2}
    assert bad_nodes(workspace, 4) == ("n1",)
    forgive_nodes(workspace)
    assert bad_nodes(workspace, 4) == ()


def test_never_more_than_half_of_the_nodes_are_left_out(workspace: Workspace, ended: dict) -> None:
    ended["12_0"] = [run("NODE_FAIL", node) for node in ("n1", "n2", "n3")]
    for node, times in (("n1", 3), ("n2", 5), ("n3", 4)):
        lose(workspace, node, times)
    assert bad_nodes(workspace, 4) == ("n2", "n3")
    assert bad_nodes(workspace, None) == ("n1", "n2", "n3")


@pytest.mark.parametrize("state", ["TIMEOUT", "FAILED", "COMPLETED"])
def test_other_ends_are_not_the_nodes_fault(workspace: Workspace, ended: dict, state: str) -> None:
    ended["12_0"] = [run(state)]
    lose(workspace, "n1", 3)
    assert bad_nodes(workspace, 4) == ()
