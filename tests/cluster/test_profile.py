"""Profiles: which partition a shape goes to, what a job asks for, and what is said when nothing fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.profile import Partition, Profile
from results.files import WorkspaceError
from workers.recipe import Resources

CPU = Partition(name="cpu", cpus=32, memory_gb=128, hours=48, nodes=10)
GPU = Partition(
    name="gpu", gpus=4, gpu_type="a100", gpu_memory_gb=40, cpus=64, memory_gb=512, hours=24, nodes=3
)
BIG = Partition(name="big", gpus=8, gpu_type="h100", gpu_memory_gb=80, cpus=96, memory_gb=1024, hours=12)


def profile(**settings: object) -> Profile:
    return Profile.model_validate({"partitions": (GPU, CPU, BIG), **settings})


def needs(**settings: object) -> dict[str, object]:
    return Resources.model_validate({"hours": 100.0, **settings}).model_dump()


def test_work_without_a_gpu_goes_where_there_are_none() -> None:
    assert profile().allocation(needs()).partition == "cpu"
    assert Profile(partitions=(GPU,)).allocation(needs()).partition == "gpu"


def test_the_first_partition_whose_gpus_are_large_enough_is_taken() -> None:
    assert profile().allocation(needs(gpus=1)).partition == "gpu"
    assert profile().allocation(needs(gpus=1, gpu_memory_gb=80)).partition == "big"
    assert profile().allocation(needs(gpus=6)).partition == "big"


def test_small_work_leaves_large_gpus_to_what_needs_them() -> None:
    """Whatever the order; where a size is not known on either side, the order decides."""
    reverse = Profile(partitions=(BIG, GPU, CPU))
    assert reverse.allocation(needs(gpus=1, gpu_memory_gb=9)).partition == "gpu"
    assert reverse.allocation(needs(gpus=1, gpu_memory_gb=41)).partition == "big"
    assert reverse.allocation(needs(gpus=1)).partition == "big"
    unknown = Partition(name="any", gpus=2)
    assert (
        Profile(partitions=(BIG, unknown, GPU)).allocation(needs(gpus=1, gpu_memory_gb=9)).partition == "big"
    )


def test_small_gpus_are_no_bargain_where_they_give_less_time_or_far_fewer_jobs() -> None:
    asked = Resources(gpus=1, gpu_memory_gb=24, cpus=8, hours=4)
    main = Partition(name="main", gpus=4, gpu_memory_gb=80, hours=48, nodes=50)
    debug = Partition(name="debug", gpus=1, gpu_memory_gb=40, hours=0.5, nodes=50)
    few = Partition(name="few", gpus=1, gpu_memory_gb=40, hours=48, nodes=1)
    enough = Partition(name="enough", gpus=2, gpu_memory_gb=40, hours=48, nodes=25)
    for small, taken in ((debug, "main"), (few, "main"), (enough, "enough")):
        assert Profile(partitions=(main, small)).partition_for(asked).name == taken
    short = asked.model_copy(update={"hours": 0.25})
    assert Profile(partitions=(main, debug)).partition_for(short).name == "debug"


def test_gpus_are_asked_for_by_type_and_in_whole() -> None:
    assert profile().allocation(needs(gpus=0.25)).gpus == "a100:1"
    assert profile().allocation(needs(gpus=3)).gpus == "a100:3"
    assert profile().allocation(needs()).gpus is None
    untyped = Profile(partitions=(Partition(name="any", gpus=2),))
    assert untyped.allocation(needs(gpus=2)).gpus == "2"


def test_the_shortest_of_all_limits_holds() -> None:
    assert profile().allocation(needs(gpus=1)).hours == 24
    assert profile(hours=8).allocation(needs(gpus=1)).hours == 8
    assert profile().allocation(needs(gpus=1, hours=2.0)).hours == 2


def test_a_gpu_brings_its_share_of_the_node() -> None:
    raised = profile(cpus_per_gpu=16, memory_gb_per_gpu=100).allocation(needs(gpus=2, cpus=4, memory_gb=64))
    assert (raised.cpus, raised.memory_gb) == (32, 200)


def test_what_fits_nowhere_is_said_with_every_reason() -> None:
    with pytest.raises(WorkspaceError, match="no partition for stages of shape") as refused:
        profile().allocation(needs(gpus=16))
    for name in ("cpu: it has 0 GPUs", "gpu: it has 4 GPUs", "big: it has 8 GPUs"):
        assert name in str(refused.value)


@pytest.mark.parametrize(
    ("wanted", "lacks"),
    [
        ({"cpus": 100}, "64 cores"),
        ({"memory_gb": 600.0}, "512 GB a node"),
        ({"gpus": 1, "gpu_memory_gb": 80.0}, "40 GB"),
        ({"network": True}, "no network"),
    ],
)
def test_what_a_partition_lacks_is_named(wanted: dict[str, object], lacks: str) -> None:
    assert lacks in str(GPU.lacks(Resources.model_validate(wanted)))


def test_what_is_unknown_is_taken_to_suffice() -> None:
    assert Partition(name="some").lacks(Resources(cpus=500, memory_gb=9000)) is None


def test_bundles_are_as_many_as_run_at_once() -> None:
    assert profile().at_once(needs(gpus=1)) == 12
    assert profile().at_once(needs(gpus=4)) == 3
    assert profile(jobs_at_once=5).at_once(needs(gpus=1)) == 5
    assert profile(array_throttle=2).at_once(needs(gpus=1)) == 2
    assert profile().at_once(needs(gpus=8)) == 256


def test_more_memory_goes_up_to_the_largest_node() -> None:
    assert profile().memory_limit_gb(Resources(gpus=1)) == 1024
    assert profile().memory_limit_gb(Resources(gpus=1, gpu_memory_gb=40)) == 1024
    assert Profile(partitions=(Partition(name="some"),)).memory_limit_gb(Resources()) is None


@given(st.integers(1, 64), st.floats(0, 8), st.floats(0.1, 1000))
def test_an_allocation_never_asks_for_less_than_the_stage_needs(
    cpus: int, gpus: float, memory: float
) -> None:
    wanted = Resources(cpus=cpus, gpus=gpus, memory_gb=memory)
    given = profile(cpus_per_gpu=2, memory_gb_per_gpu=10).allocation(wanted.model_dump())
    assert given.cpus >= cpus and given.memory_gb >= memory
    if given.gpus is not None:
        assert int(given.gpus.rpartition(":")[2]) >= gpus
