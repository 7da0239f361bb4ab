"""Claims, staleness, commits: the protocol without processes."""

import itertools
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from results.files import read_json, write_atomic
from results.journal import Index
from results.layout import Workspace
from results.records import Commit
from workers.attempts import STALE_SECONDS, Attempt, Claimant, HeartbeatObserver, read_commit
from workers.processes import ProcessIdentity

STAGE = "ab" + "0" * 30


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def claimant(workspace: Workspace, name: str, identity: ProcessIdentity | None = None) -> Claimant:
    return Claimant(workspace, name, "local", None, identity or ProcessIdentity.own())


def dead() -> ProcessIdentity:
    own = ProcessIdentity.own()
    return ProcessIdentity(own.host, own.boot, own.process, own.started - 1000.0)


def elsewhere() -> ProcessIdentity:
    return ProcessIdentity("another-node", "another-boot", 17, 0.0)


def commit_of(attempt: Attempt, outcome: str = "done") -> Commit:
    record = attempt.record
    return Commit(
        stage=record["stage"],
        kind=record["kind"],
        attempt=record["token"],
        outcome=outcome,
        finished=0.0,
        output_digest="",
        metrics=[],
        record=record,
    )


def test_one_claim_at_a_time(workspace: Workspace) -> None:
    assert claimant(workspace, "a").claim(STAGE, "toy", {}) is not None
    assert claimant(workspace, "b").claim(STAGE, "toy", {}) is None


def test_of_many_claimants_at_once_exactly_one_wins(workspace: Workspace) -> None:
    won: list[Attempt | None] = []
    barrier = threading.Barrier(8)

    def attempt(name: str) -> None:
        barrier.wait()
        won.append(claimant(workspace, name).claim(STAGE, "toy", {}))

    threads = [threading.Thread(target=attempt, args=(f"c{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(attempt is not None for attempt in won) == 1
    assert len(list(workspace.attempts(STAGE).iterdir())) == 1


def test_a_claim_whose_maker_died_before_it_said_more_is_taken_over_at_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    maker = claimant(workspace, "a", dead())
    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(maker.journal, "claimed", die)
        maker.claim(STAGE, "toy", {})
    assert claimant(workspace, "b").claim(STAGE, "toy", {}) is not None


def test_a_dead_holder_is_journalled_as_lost_and_taken_over(workspace: Workspace) -> None:
    first = claimant(workspace, "a", dead()).claim(STAGE, "toy", {})
    second = claimant(workspace, "b").claim(STAGE, "toy", {})
    assert first is not None and second is not None
    assert second.record["number"] == 2
    index = Index(workspace)
    index.refresh()
    assert index.ending(STAGE) == "lost"
    assert list(index.open[STAGE].values()) == ["b"]


def test_a_holder_on_another_machine_is_stale_only_after_watching(workspace: Workspace) -> None:
    claimant(workspace, "a", elsewhere()).claim(STAGE, "toy", {})
    watcher = claimant(workspace, "b")
    watcher.observer = HeartbeatObserver(stale_seconds=0.0)
    assert watcher.claim(STAGE, "toy", {}) is None
    assert watcher.claim(STAGE, "toy", {}) is not None


def test_a_moving_heartbeat_is_never_stale(workspace: Workspace) -> None:
    attempt = claimant(workspace, "a", elsewhere()).claim(STAGE, "toy", {})
    assert attempt is not None
    watcher = claimant(workspace, "b")
    watcher.observer = HeartbeatObserver(stale_seconds=0.0)
    for _ in range(4):
        attempt.beat()
        assert watcher.claim(STAGE, "toy", {}) is None


def test_a_heart_beats_while_its_worker_is_busy_and_not_after(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the watcher's clock more than enough time goes by between any two looks."""
    looks = itertools.count(step=STALE_SECONDS + 1)
    monkeypatch.setattr(
        "workers.attempts.time", SimpleNamespace(time=time.time, monotonic=lambda: next(looks))
    )
    attempt = claimant(workspace, "a", elsewhere()).claim(STAGE, "toy", {})
    assert attempt is not None
    watcher = claimant(workspace, "b")
    with attempt.beating(0.01):
        for _ in range(4):
            _wait_for_a_beat(attempt)
            assert watcher.claim(STAGE, "toy", {}) is None
    assert any(watcher.claim(STAGE, "toy", {}) for _ in range(2))


def _wait_for_a_beat(attempt: Attempt) -> None:
    before, deadline = attempt._beats, time.monotonic() + 60
    while attempt._beats == before:
        assert time.monotonic() < deadline, "the heart stands still"
        time.sleep(0.01)


def test_of_two_live_attempts_one_commit_wins_and_the_other_is_superseded(workspace: Workspace) -> None:
    back_from_the_dead = claimant(workspace, "a", dead()).claim(STAGE, "toy", {})
    second = claimant(workspace, "b").claim(STAGE, "toy", {})
    assert back_from_the_dead is not None and second is not None
    assert back_from_the_dead.commit(commit_of(back_from_the_dead))
    assert not second.commit(commit_of(second))
    commit = read_commit(workspace, STAGE)
    assert commit is not None and commit["attempt"] == back_from_the_dead.record["token"]
    index = Index(workspace)
    index.refresh()
    assert index.done[STAGE] == back_from_the_dead.record["token"]
    assert index.ending(STAGE) == "superseded"


def test_a_committed_stage_cannot_be_claimed(workspace: Workspace) -> None:
    attempt = claimant(workspace, "a").claim(STAGE, "toy", {})
    assert attempt is not None
    attempt.commit(commit_of(attempt))
    assert claimant(workspace, "b").claim(STAGE, "toy", {}) is None


def test_a_commit_that_no_journal_knows_is_noted_by_the_next_claimant(workspace: Workspace) -> None:
    attempt = claimant(workspace, "a", dead()).claim(STAGE, "toy", {})
    assert attempt is not None
    write_atomic(
        workspace.done_file(STAGE),
        b'{"attempt": "%s", "stage": "%s", "outcome": "done"}'
        % (attempt.record["token"].encode(), STAGE.encode()),
    )
    assert claimant(workspace, "b").claim(STAGE, "toy", {}) is None
    index = Index(workspace)
    index.refresh()
    assert STAGE in index.done


def test_a_damaged_commit_is_set_aside_and_counts_as_none(workspace: Workspace) -> None:
    write_atomic(workspace.done_file(STAGE), b'{"attempt": ')
    assert read_commit(workspace, STAGE) is None
    assert list(workspace.stage(STAGE).glob("damaged-done-*"))


def test_an_ended_attempt_frees_the_stage(workspace: Workspace) -> None:
    attempt = claimant(workspace, "a").claim(STAGE, "toy", {})
    assert attempt is not None
    attempt.end("preempted")
    again = claimant(workspace, "a").claim(STAGE, "toy", {})
    assert again is not None and again.record["token"] != attempt.record["token"]
    assert read_json(attempt.directory / "attempt.json")["ending"] == "preempted"
