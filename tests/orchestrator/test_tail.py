"""The tail of a submission: what it takes up again, when it stops, and what a trial is followed by."""

import pytest

from orchestrator import tail
from orchestrator.dispatch import Work, dispatch
from orchestrator.remainder import remaining_work
from orchestrator.tail import look_after
from results.files import publish_once
from tests.orchestrator.lab import FakeBackend, Lab, chosen, experiment_id, stage_id
from workers.submission import Submission

FAKE = FakeBackend()


@pytest.fixture(autouse=True)
def backend(monkeypatch: pytest.MonkeyPatch) -> FakeBackend:
    """Every submission went to a backend that starts nothing."""
    FAKE.started.clear()
    monkeypatch.setattr(tail, "backend_of", lambda submission, workspace: FAKE)
    monkeypatch.setattr(tail, "compact_fully", lambda workspace: None)
    return FAKE


def submitted(lab: Lab, *experiments: str, **others: object) -> Submission:
    view = lab.view()
    work = remaining_work(view, chosen(view, *experiments))
    submission = dispatch(lab.workspace, FAKE, Work(work.items, work.shapes, **others))  # type: ignore[arg-type]
    assert submission is not None
    FAKE.started.clear()
    return submission


def sent() -> set[str]:
    """The stages of what the tail submitted."""
    return {stage.stage for one in FAKE.started for stage in one.stages}


def test_what_is_left_is_submitted_again(lab: Lab) -> None:
    last = submitted(lab)
    lab.finish("base", "train-sft-0", "eval-sft-0", "train-sft-1")
    assert look_after(lab.workspace, last) == 0
    assert sent() == {
        stage_id(name) for name in ("eval-sft-1", "train-dpo-0", "eval-dpo-0", "train-dpo-1", "eval-dpo-1")
    }


def test_nothing_follows_when_all_is_done(lab: Lab) -> None:
    last = submitted(lab, "sft/s0")
    lab.finish("base", "train-sft-0", "eval-sft-0")
    assert look_after(lab.workspace, last) == 0
    assert sent() == set()


def test_only_the_experiments_of_the_submission_are_taken_up(lab: Lab) -> None:
    last = submitted(lab, "sft/s0")
    look_after(lab.workspace, last)
    assert sent() == {stage_id(name) for name in ("base", "train-sft-0", "eval-sft-0")}


def test_failures_stay_failures(lab: Lab) -> None:
    last = submitted(lab, "sft/s0")
    lab.finish("base")
    lab.fail("train-sft-0")
    assert look_after(lab.workspace, last) == 0
    assert sent() == set()


def test_what_was_cancelled_stays_cancelled(lab: Lab) -> None:
    last = submitted(lab, "sft/s0", "sft/s1")
    lab.finish("base")
    publish_once(lab.workspace.tombstone(stage_id("train-sft-1")), b"")
    look_after(lab.workspace, last)
    assert sent() == {stage_id("train-sft-0"), stage_id("eval-sft-0")}


def test_it_gives_up_after_three_submissions_without_progress(lab: Lab) -> None:
    last = submitted(lab, "sft/s0")
    for _ in range(tail.STALLED_SUBMISSIONS - 1):
        assert look_after(lab.workspace, last) == 0
        last = FAKE.started[-1]
    assert look_after(lab.workspace, last) == 1


def test_a_step_further_is_progress(lab: Lab) -> None:
    last = submitted(lab, "sft/s0")
    for step in range(1, 6):
        attempt = lab.claim("base")
        attempt.record["step"] = step
        attempt.end("preempted")
        assert look_after(lab.workspace, last) == 0
        last = FAKE.started[-1]
    assert last.stalled == 0


def test_after_a_trial_the_whole_plan_follows(lab: Lab) -> None:
    last = submitted(lab, "sft/s0", canary=(experiment_id("sft/s0"),))
    lab.finish("base", "train-sft-0", "eval-sft-0")
    look_after(lab.workspace, last)
    assert len(sent()) == 6 and not FAKE.started[-1].canary


def test_after_a_trial_that_failed_nothing_follows(lab: Lab) -> None:
    last = submitted(lab, "sft/s0", canary=(experiment_id("sft/s0"),))
    lab.finish("base")
    lab.fail("train-sft-0")
    assert look_after(lab.workspace, last) == 1
    assert sent() == set()


def test_a_trial_that_was_cut_short_goes_on_as_one(lab: Lab) -> None:
    last = submitted(lab, "sft/s0", canary=(experiment_id("sft/s0"),))
    lab.finish("base")
    look_after(lab.workspace, last)
    assert sent() == {stage_id("train-sft-0"), stage_id("eval-sft-0")} and FAKE.started[-1].canary
