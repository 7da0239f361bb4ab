"""Resuming submits exactly what is unfinished; releasing forgives failures first."""

import pytest

from cluster import backend as backends
from orchestrator.resume import release_failures, resume
from results.files import publish_once
from tests.orchestrator.lab import FakeBackend, Lab, chosen, stage_id
from workers.recipe import Execution

FAKE = FakeBackend()


@pytest.fixture(autouse=True)
def backend(monkeypatch) -> FakeBackend:
    """`--on fake`."""
    monkeypatch.setitem(backends.BACKENDS, "fake", f"{__name__}:new_backend")
    FAKE.started.clear()
    return FAKE


def new_backend() -> FakeBackend:
    return FAKE


def resumed(lab: Lab, *experiments: str, release: bool = False) -> set[str] | None:
    """The ids of the stages that were submitted."""
    view = lab.view()
    submission = resume(view, chosen(view, *experiments), FAKE, release)
    return None if submission is None else {stage.stage for stage in submission.stages}


def ids(*names: str) -> set[str]:
    return {stage_id(name) for name in names}


def test_the_unfinished_stages_of_the_selected_experiments(lab: Lab, backend: FakeBackend) -> None:
    lab.finish("base", "train-sft-0")
    assert resumed(lab, "sft/s0", "dpo/s1") == ids("eval-sft-0", "train-dpo-1", "eval-dpo-1")
    assert len(backend.started) == 1


def test_nothing_is_submitted_when_all_is_done(lab: Lab, backend: FakeBackend) -> None:
    lab.finish("base", "train-sft-0", "eval-sft-0")
    assert resumed(lab, "sft/s0") is None
    assert backend.started == []


def test_a_failure_stays_one_until_it_is_released(lab: Lab) -> None:
    lab.finish("base")
    lab.fail("train-sft-0")
    assert resumed(lab, "sft/s0") is None
    assert resumed(lab, "sft/s0", release=True) == ids("train-sft-0", "eval-sft-0")
    assert lab.view().counts().failed == 0


def test_releasing_lifts_a_hold(lab: Lab) -> None:
    lab.finish("base", "train-sft-0", "train-sft-1", "train-dpo-0", "train-dpo-1")
    lab.fail("eval-sft-0", "eval-sft-1", "eval-dpo-0")
    view = lab.view()
    assert release_failures(view, FAKE) == 3
    assert view.held == {}
    assert view.counts().pending == 4


def test_a_failure_after_the_release_counts_anew(lab: Lab) -> None:
    lab.fail("base")
    release_failures(lab.view(), FAKE)
    lab.fail("base")
    view = lab.view()
    assert view.counts().blocked == 4
    assert release_failures(view, FAKE) == 1


def test_tries_before_a_release_do_not_count_towards_a_limit(lab: Lab) -> None:
    for _ in range(4):
        lab.fail("base", ending="transient")
    release_failures(lab.view(), FAKE)
    for _ in range(3):
        lab.fail("base", ending="transient")
    assert lab.view().counts().pending == 4


def test_releasing_nothing_writes_nothing(lab: Lab) -> None:
    lab.finish("base")
    before = lab.tree()
    assert release_failures(lab.view(), FAKE) == 0
    assert lab.tree() == before


def test_divergence_is_a_result_that_a_release_leaves_alone(lab: Lab) -> None:
    lab.finish("base")
    lab.finish("train-sft-0", outcome="diverged")
    assert resumed(lab, "sft/s0", release=True) is None


def test_resuming_lifts_a_cancellation(lab: Lab) -> None:
    publish_once(lab.workspace.tombstone(stage_id("base")), b"")
    resumed(lab, "sft/s0")
    assert list(lab.workspace.tombstones.iterdir()) == []


def test_stages_go_on_as_they_were_submitted(lab: Lab, backend: FakeBackend) -> None:
    lab.submit("20260101-000000-aaaaaa", 1.0, base=Execution(micro_batch=2))
    resumed(lab, "sft/s0")
    (submission,) = backend.started
    used = {stage.stage: submission.executions[stage.execution] for stage in submission.stages}
    assert used[stage_id("base")] == Execution(micro_batch=2)
    assert used[stage_id("train-sft-0")] == Execution()
