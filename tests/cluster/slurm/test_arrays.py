"""Which bundles go together, and what an array waits for."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.slurm.arrays import job_name, make_arrays, shape_order
from workers.recipe import Execution
from workers.submission import Submission, SubmittedBundle, SubmittedStage


def submission(*stages: tuple[str, str, tuple[int, ...]], bundles: int = 1) -> Submission:
    """Stages as (kind, shape, parents); each shape's stages are dealt out to `bundles` bundles."""
    submitted = tuple(
        SubmittedStage(f"{number:032x}", kind, parents, shape, "", 1.0, 0)
        for number, (kind, shape, parents) in enumerate(stages)
    )
    parts = []
    for shape in dict.fromkeys(shape for _, shape, _ in stages):
        own = [number for number, stage in enumerate(submitted) if stage.shape == shape]
        parts += [SubmittedBundle(f"{shape}-{n}", shape, tuple(own[n::bundles])) for n in range(bundles)]
    return Submission("s1", 0.0, "slurm", "", "", submitted, (Execution(),), tuple(parts), study="toys")


def test_one_array_for_each_shape() -> None:
    arrays = make_arrays(submission(("sft", "gpu", ()), ("merge", "cpu", ()), bundles=3), 1000)
    assert [(one.shape, len(one.bundles)) for one in arrays] == [("gpu", 3), ("cpu", 3)]


def test_a_shape_that_only_stands_on_another_waits_for_it() -> None:
    made = submission(("merge", "cpu", (1,)), ("sft", "gpu", ()))
    made = submission(("sft", "gpu", ()), ("merge", "cpu", (0,)))
    assert shape_order(made) == {"gpu": (), "cpu": ("gpu",)}
    assert [one.shape for one in make_arrays(made, 10)] == ["gpu", "cpu"]


def test_shapes_that_need_each_other_do_not_wait() -> None:
    made = submission(("sft", "gpu", ()), ("merge", "cpu", (0,)), ("evaluate", "gpu", (1,)))
    assert shape_order(made) == {"gpu": (), "cpu": ()}


def test_a_shape_with_work_that_can_start_does_not_wait() -> None:
    made = submission(("sft", "gpu", ()), ("merge", "cpu", (0,)), ("pretrain", "cpu", ()))
    assert shape_order(made)["cpu"] == ()


def test_a_name_tells_study_kinds_submission_and_part() -> None:
    made = submission(("sft", "gpu", ()), ("dpo", "gpu", (0,)))
    assert job_name(made, [0], "a0000") == "yates-toys-dpo+sft-s1-a0000"
    assert job_name(made, [], "tail") == "yates-toys-tail-s1-tail"


@given(st.integers(1, 60), st.integers(1, 20))
def test_every_bundle_is_in_one_array_of_the_allowed_size(bundles: int, size: int) -> None:
    made = submission(*[("sft", "gpu", ())] * bundles, *[("merge", "cpu", (0,))] * bundles, bundles=bundles)
    arrays = make_arrays(made, size)
    assert sorted(number for one in arrays for number in one.bundles) == list(range(2 * bundles))
    assert all(len(one.bundles) <= size for one in arrays)
    for one in arrays:
        assert {made.bundles[number].shape for number in one.bundles} == {one.shape}
