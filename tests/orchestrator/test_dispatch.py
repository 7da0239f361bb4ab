"""Dispatch: what a submission says, and in which order it is written, lifted and started."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.code import current_code
from orchestrator.dispatch import Work, WorkItem, dispatch, lift_tombstones, make_submission
from orchestrator.remainder import remaining_work
from results.files import publish_once
from results.layout import Workspace
from tests.orchestrator.lab import SHAPE, FakeBackend, Lab, chosen, stage_id
from workers.recipe import Execution
from workers.submission import Submission


def item(
    name: str, *parents: str, cost: float = 10.0, shape: str = "cpu1", execution: Execution | None = None
) -> WorkItem:
    return WorkItem(name, "toy", parents, shape, "base", cost, execution or Execution())


def test_nothing_to_do_submits_nothing(tmp_path) -> None:
    backend = FakeBackend()
    assert dispatch(Workspace(tmp_path / "runs"), backend, Work([])) is None
    assert backend.started == []
    assert not (tmp_path / "runs").exists()


def test_the_submission_lies_on_disk_before_the_backend_is_called(lab: Lab) -> None:
    backend = FakeBackend()
    view = lab.view()
    submission = dispatch(lab.workspace, backend, remaining_work(view, chosen(view)))
    assert submission is not None
    assert backend.on_disk == backend.started == [submission]


def test_a_backend_that_fails_leaves_the_trace_of_what_was_intended(lab: Lab) -> None:
    class Broken(FakeBackend):
        def start(self, workspace: Workspace, submission: Submission) -> int:
            raise RuntimeError("sbatch: error: Batch job submission failed")

    view = lab.view()
    with pytest.raises(RuntimeError):
        dispatch(lab.workspace, Broken(), remaining_work(view, chosen(view)))
    (path,) = lab.workspace.submissions.glob("*.json")
    assert len(Submission.read(lab.workspace, path.stem).stages) == 9


def test_the_code_is_frozen_under_the_hash_that_the_submission_names(lab: Lab) -> None:
    view = lab.view()
    submission = dispatch(lab.workspace, FakeBackend(), remaining_work(view, chosen(view)))
    assert submission is not None
    assert submission.code == current_code()
    assert (lab.workspace.code / submission.code / "workers" / "stage.py").is_file()


def test_submitting_lifts_the_tombstones_of_what_is_submitted_and_no_others(lab: Lab) -> None:
    for name in ("train-sft-0", "train-dpo-0"):
        publish_once(lab.workspace.tombstone(stage_id(name)), b"")
    view = lab.view()
    dispatch(lab.workspace, FakeBackend(), remaining_work(view, chosen(view, "sft/s0")))
    assert [path.name for path in lab.workspace.tombstones.iterdir()] == [stage_id("train-dpo-0")]


def test_lifting_needs_no_tombstones(tmp_path) -> None:
    lift_tombstones(Workspace(tmp_path), ["a", "b"])
    assert list(tmp_path.iterdir()) == []


def test_stages_are_numbered_and_parents_that_are_done_are_no_parents() -> None:
    work = Work([item("a", "finished"), item("b", "a", "finished")], {"cpu1": SHAPE}, {"org/m": "/m"}, "plan")
    submission = make_submission(FakeBackend(), work, "code")
    assert [(stage.stage, stage.parents) for stage in submission.stages] == [("a", ()), ("b", (0,))]
    assert (submission.backend, submission.plan, submission.code) == ("fake", "plan", "code")
    assert (submission.shapes, submission.hub_map) == ({"cpu1": SHAPE}, {"org/m": "/m"})


def test_equal_executions_are_written_once() -> None:
    small = Execution(micro_batch=1)
    work = Work([item("a"), item("b", execution=small), item("c"), item("d", execution=small)])
    submission = make_submission(FakeBackend(), work, "code")
    assert len(submission.executions) == 2
    assert [submission.executions[stage.execution] for stage in submission.stages] == [
        Execution(),
        small,
        Execution(),
        small,
    ]


def test_a_bundle_never_lasts_longer_than_the_time_limit_of_its_shape() -> None:
    work = Work([item(f"s{n}", cost=1000.0) for n in range(10)], {"cpu1": {**SHAPE, "hours": 1.0}})
    submission = make_submission(FakeBackend(count=1), work, "code")
    assert max(len(bundle.stages) for bundle in submission.bundles) == 3
    assert sum(len(bundle.stages) for bundle in submission.bundles) == 10


def test_the_work_is_spread_over_the_slots_of_the_backend() -> None:
    work = Work([item(f"s{n}") for n in range(8)])
    submission = make_submission(FakeBackend(count=4), work, "code")
    assert [len(bundle.stages) for bundle in submission.bundles] == [2, 2, 2, 2]


def test_two_submissions_never_have_one_id() -> None:
    ids = {make_submission(FakeBackend(), Work([item("a")]), "code").id for _ in range(20)}
    assert len(ids) == 20


@st.composite
def graphs(draw) -> list[WorkItem]:
    """Stages with parents before them, of two shapes."""
    count = draw(st.integers(1, 25))
    items = []
    for number in range(count):
        parents = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        shape = draw(st.sampled_from(["cpu1", "gpu1"]))
        cost = draw(st.floats(0.1, 4000))
        items.append(item(f"s{number}", *(f"s{one}" for one in parents), cost=cost, shape=shape))
    return items


@settings(max_examples=60, deadline=None)
@given(items=graphs(), slots=st.integers(1, 5))
def test_bundles_hold_every_stage_once_of_one_shape_with_parents_first(items, slots) -> None:
    shapes = {"cpu1": SHAPE, "gpu1": {**SHAPE, "gpus": 1.0}}
    submission = make_submission(FakeBackend(count=slots), Work(items, shapes), "code")
    placed = Counter(number for bundle in submission.bundles for number in bundle.stages)
    assert placed == Counter(range(len(items)))
    for bundle in submission.bundles:
        assert {submission.stages[number].shape for number in bundle.stages} == {bundle.shape}
        for place, number in enumerate(bundle.stages):
            assert not set(submission.stages[number].parents) & set(bundle.stages[place:])


@settings(max_examples=20, deadline=None)
@given(items=graphs())
def test_a_submission_survives_the_disk(tmp_path_factory, items) -> None:
    workspace = Workspace(tmp_path_factory.mktemp("submissions"))
    submission = make_submission(FakeBackend(), Work(items, {"cpu1": SHAPE}), "code")
    submission.write(workspace)
    assert Submission.read(workspace, submission.id) == submission
