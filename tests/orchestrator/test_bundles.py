"""Bundles: every stage once, no waiting in a circle, the time limit kept, base models together."""

from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.bundles import Bundle, BundledStage, make_bundles

SHAPES = ("cpu1", "gpu1")
BASES = ("llama", "mistral", "vicuna")


@st.composite
def graphs(draw: st.DrawFn) -> list[BundledStage]:
    """Stages in topological order, with parents among the earlier ones and outside."""
    stages: list[BundledStage] = []
    for number in range(draw(st.integers(1, 40))):
        earlier = [stage.id for stage in stages[-8:]] + ["done before"]
        parents = draw(st.lists(st.sampled_from(earlier), max_size=3))
        stages.append(
            BundledStage(
                f"stage{number}",
                draw(st.sampled_from(SHAPES)),
                draw(st.sampled_from(BASES)),
                draw(st.floats(0.0, 50.0)),
                tuple(parents),
            )
        )
    return stages


def bundle_of(bundles: list[Bundle]) -> dict[str, int]:
    return {stage: number for number, bundle in enumerate(bundles) for stage in bundle.stages}


@given(graphs(), st.integers(1, 6), st.floats(20.0, 200.0), st.floats(0.0, 10.0))
@settings(max_examples=200, deadline=None)
def test_every_stage_once_in_its_shape_and_below_the_limit(
    stages: list[BundledStage], slots: int, limit: float, overhead: float
) -> None:
    bundles = make_bundles(stages, slots, limit, overhead)
    by_id = {stage.id: stage for stage in stages}
    assert sorted(stage for bundle in bundles for stage in bundle.stages) == sorted(by_id)
    assert len({bundle.name for bundle in bundles}) == len(bundles)
    for bundle in bundles:
        assert {by_id[stage].shape for stage in bundle.stages} == {bundle.shape}
        assert bundle.seconds == pytest.approx(sum(by_id[stage].cost for stage in bundle.stages))
        assert len(bundle.stages) == 1 or overhead + bundle.seconds <= limit + 1e-6


@given(graphs(), st.integers(1, 6), st.floats(20.0, 200.0), st.floats(0.0, 10.0))
@settings(max_examples=200, deadline=None)
def test_bundles_that_run_at_once_never_wait_in_a_circle(
    stages: list[BundledStage], slots: int, limit: float, overhead: float
) -> None:
    """Workers that each run their bundle in order, and wait for parents, finish everything."""
    parents = {stage.id: {parent for parent in stage.parents if parent != "done before"} for stage in stages}
    queues = [list(bundle.stages) for bundle in make_bundles(stages, slots, limit, overhead)]
    done: set[str] = set()
    while any(queues):
        runnable = [queue for queue in queues if queue and parents[queue[0]] <= done]
        assert runnable, "every bundle waits for another"
        for queue in runnable:
            done.add(queue.pop(0))


@given(graphs(), st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_one_bundle_for_each_slot_when_there_is_no_limit(stages: list[BundledStage], slots: int) -> None:
    bundles = make_bundles(stages, slots, float("inf"), 1.0)
    for shape in SHAPES:
        assert len([bundle for bundle in bundles if bundle.shape == shape]) <= slots


@given(graphs(), st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_bundles_are_listed_by_start_and_the_same_every_time(stages: list[BundledStage], slots: int) -> None:
    bundles = make_bundles(stages, slots, 100.0, 1.0)
    assert [bundle.start for bundle in bundles] == sorted(bundle.start for bundle in bundles)
    assert bundles == make_bundles(stages, slots, 100.0, 1.0)


def study(models: int, runs: int, train: float = 10.0) -> list[BundledStage]:
    """A pre-training for each model, and trainings with an evaluation on it."""
    stages: list[BundledStage] = []
    for model in range(models):
        stages.append(BundledStage(f"base{model}", "cpu1", f"m{model}", 20.0))
        for run in range(runs):
            stages.append(BundledStage(f"train{model}.{run}", "cpu1", f"m{model}", train, (f"base{model}",)))
            stages.append(
                BundledStage(f"test{model}.{run}", "cpu1", f"m{model}", 2.0, (f"train{model}.{run}",))
            )
    return stages


def test_a_child_follows_its_parent_in_the_same_bundle() -> None:
    where = bundle_of(make_bundles(study(2, 20), 2, 1e9, 1.0))
    assert all(
        where[f"train{model}.{run}"] == where[f"test{model}.{run}"] for model in range(2) for run in range(20)
    )


def test_a_base_model_stays_on_its_slot() -> None:
    where = bundle_of(make_bundles(study(2, 20), 2, 1e9, 1.0))
    for model in range(2):
        assert len({where[f"train{model}.{run}"] for run in range(20)}) == 1
    assert where["train0.0"] != where["train1.0"]


@pytest.mark.parametrize(("models", "slots"), [(1, 4), (3, 4), (4, 2), (4, 16)])
def test_work_is_balanced(models: int, slots: int) -> None:
    bundles = make_bundles(study(models, 40), slots, 1e9, 1.0)
    end = max(bundle.start + bundle.seconds for bundle in bundles)
    work = sum(bundle.seconds for bundle in bundles)
    assert len(bundles) == slots
    assert end <= work / slots + 20.0 + 2 * 12.0 + 1.0


def test_overhead_is_below_two_percent_or_bundles_are_one_for_each_slot() -> None:
    stages = study(4, 100)
    bundles = make_bundles(stages, 2, 2000.0, 15.0)
    assert len(bundles) <= 4
    assert sum(15.0 for _ in bundles) / sum(bundle.seconds for bundle in bundles) < 0.02


def test_work_that_is_shorter_than_a_start_gets_one_slot() -> None:
    assert len(make_bundles(study(1, 3, train=0.5), 64, 3600.0, 60.0)) == 1


def test_a_stage_longer_than_the_limit_is_alone() -> None:
    stages = [BundledStage(name, "cpu1", "m", cost) for name, cost in (("a", 5.0), ("b", 500.0), ("c", 5.0))]
    bundles = make_bundles(stages, 1, 100.0, 1.0)
    assert ("b",) in [bundle.stages for bundle in bundles]


def test_nothing_to_bundle() -> None:
    assert make_bundles([], 4, 100.0, 1.0) == []


def test_circles_and_doubles_are_refused() -> None:
    circle = [BundledStage("a", "cpu1", "m", 1.0, ("b",)), BundledStage("b", "cpu1", "m", 1.0, ("a",))]
    with pytest.raises(ValueError, match="circle"):
        make_bundles(circle, 1, 100.0, 1.0)
    with pytest.raises(ValueError, match="twice"):
        make_bundles([circle[0], circle[0]], 1, 100.0, 1.0)


def test_tens_of_thousands_of_stages_are_quick() -> None:
    stages = study(4, 5000)
    start = process_time()
    make_bundles(stages, 64, 3600.0, 15.0)
    assert process_time() - start < 5
