"""`yates why`: the one sentence for each way to be unfinished."""

import time

import pytest

from orchestrator.why import REMEDIES, explain
from results.files import publish_once
from results.layout import Workspace
from results.status import FAILURES
from tests.orchestrator.lab import Lab, dead, loop, stage_id


def why(lab: Lab, name: str = "sft/s0", code: str | None = None) -> str:
    view = lab.view(code)
    return explain(view, view.find(name))


def short(name: str) -> str:
    return stage_id(name)[:12]


def test_done(lab: Lab) -> None:
    lab.finish("base", "train-sft-0", "eval-sft-0")
    assert why(lab) == "sft/s0 is done."


def test_running_names_the_stage_and_its_worker(lab: Lab) -> None:
    lab.finish("base")
    lab.claim("train-sft-0")
    assert why(lab) == f"sft/s0 is running: its sft stage ({short('train-sft-0')}) is held by worker-1."


def test_waiting_for_workers_that_run(lab: Lab) -> None:
    assert why(lab) == (
        f"sft/s0 waits for its pretrain stage ({short('base')}), which is in the queue of the running workers."
    )


def test_waiting_with_nobody_at_work(lab: Lab) -> None:
    lab.finish("base")
    lab.leave()
    assert why(lab) == (
        f"sft/s0 waits for its sft stage ({short('train-sft-0')}), and no worker runs; `yates resume` starts them."
    )


def test_waiting_after_an_interruption_says_so(lab: Lab) -> None:
    lab.fail("base", ending="preempted", message="the worker was asked to stop")
    lab.leave()
    assert why(lab) == (
        f"sft/s0 waits for its pretrain stage ({short('base')}) (its last try was preempted 0 minutes ago), "
        "and no worker runs; `yates resume` starts them."
    )


@pytest.mark.parametrize(
    ("age", "words"), [(90 * 60, "90 minutes ago"), (3 * 3600, "3 hours ago"), (-60, "0 minutes ago")]
)
def test_how_long_ago_the_last_try_was(lab: Lab, monkeypatch, age: float, words: str) -> None:
    lab.fail("base", ending="lost", message="its process is gone")
    now = time.time()
    monkeypatch.setattr("orchestrator.why.time.time", lambda: now + age)
    assert words in why(lab)


def test_a_lost_claim_waits(lab: Lab) -> None:
    lab.leave()
    lab.worker("late", dead())
    lab.claim("base")
    assert why(lab).endswith("and no worker runs; `yates resume` starts them.")


def test_cancelled(lab: Lab) -> None:
    publish_once(lab.workspace.tombstone(stage_id("base")), b"")
    assert why(lab) == (
        f"sft/s0 was cancelled before its pretrain stage ({short('base')}); `yates resume` takes it up again."
    )


def test_failed_tells_the_error_and_what_mends_it(lab: Lab) -> None:
    lab.finish("base")
    lab.fail("train-sft-0", message="ValueError: a bug in line 42")
    assert why(lab) == (
        f"sft/s0 failed: its sft stage ({short('train-sft-0')}) ended with bug (ValueError: a bug in line 42); "
        "mend the code (new code is tried by `yates resume` at once) or `yates resume --release`."
    )


def test_the_last_of_several_failures_is_told(lab: Lab) -> None:
    for number in range(4):
        lab.fail("base", ending="transient", message=f"try {number}")
    assert "ended with transient (try 3)" in why(lab)


@pytest.mark.parametrize("ending", sorted(FAILURES))
def test_every_failure_has_a_remedy_of_its_own(lab: Lab, ending: str) -> None:
    """Enough tries alike that the stage has failed for good."""
    lab.finish("base")
    for _ in range(4):
        lab.fail("train-sft-0", ending=ending, message="again", execution={"micro_batch": 1})
    sentence = why(lab)
    assert f"ended with {ending} (again); {REMEDIES[ending]}." in sentence
    assert list(REMEDIES.values()).count(REMEDIES[ending]) == 1


def test_a_stage_that_kills_its_worker(lab: Lab) -> None:
    for _ in range(5):
        lab.fail("base", ending="lost", message="the worker process was killed (signal 9)", step=7)
    assert "is blocked by a stage that it stands on: it failed: its pretrain stage" in why(lab)
    assert REMEDIES["lost"] in why(lab)


def test_blocked_by_a_failed_parent(lab: Lab) -> None:
    lab.fail("base", ending="bad_input", message="no such file: data.jsonl")
    assert why(lab) == (
        f"sft/s0 is blocked by a stage that it stands on: it failed: its pretrain stage ({short('base')}) "
        "ended with bad_input (no such file: data.jsonl); mend the input, then `yates resume --release`."
    )


def test_blocked_by_a_diverged_parent(lab: Lab) -> None:
    lab.finish("base", outcome="diverged")
    assert why(lab) == (
        f"sft/s0 is blocked: its pretrain stage ({short('base')}), which it stands on, diverged; "
        "that is a result and is not retried."
    )


def test_diverged_is_a_result(lab: Lab) -> None:
    lab.finish("base")
    lab.finish("train-sft-0", outcome="diverged")
    assert why(lab) == (
        f"sft/s0 diverged in its sft stage ({short('train-sft-0')}): that is a result, stored with its step, "
        "and is not retried."
    )


def test_held_tells_the_common_reason(lab: Lab) -> None:
    lab.finish("base", *(f"train-{one}" for one in ("sft-0", "sft-1", "dpo-0", "dpo-1")))
    for name in ("eval-sft-1", "eval-dpo-0", "eval-dpo-1"):
        lab.fail(name, message="no column 'answer'")
    assert why(lab) == (
        "sft/s0 is held: 3 stages failed alike (evaluate: bug: no column 'answer'); "
        "mend it, then `yates resume --release`."
    )


def test_new_code_turns_a_failure_into_waiting(lab: Lab) -> None:
    lab.fail("base", fingerprint={"code": "old"})
    assert "its last try was bug" in why(lab, code="new")


@pytest.fixture
def points(tmp_path) -> Lab:
    """One training, done, that is evaluated at three steps."""
    lab = Lab(Workspace(tmp_path), [loop(3)])
    lab.finish("train")
    return lab


def test_a_failure_is_told_when_an_earlier_evaluation_still_waits(points: Lab) -> None:
    points.fail("eval-2", message="out of luck")
    assert f"({short('eval-2')}) ended with bug (out of luck)" in why(points, "run")


def test_a_worker_is_named_when_an_earlier_evaluation_failed(points: Lab) -> None:
    points.fail("eval-1")
    points.claim("eval-2")
    assert f"({short('eval-2')}) is held by worker-1" in why(points, "run")


def test_the_reason_of_a_hold_is_told_when_a_parent_still_waits(lab: Lab, tmp_path) -> None:
    lab.finish("base", "train-sft-0", "train-sft-1", "train-dpo-0")
    lab.fail("eval-sft-0", "eval-sft-1", "eval-dpo-0", message="no column 'answer'")
    assert "3 stages failed alike" in why(lab, "dpo/s1")
