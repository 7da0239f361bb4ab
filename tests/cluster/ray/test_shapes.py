"""What an actor asks of Ray, by hand-worked examples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.ray.shapes import GIB, Node, Request, lacking, largest, request_of


def node(cpus: float = 8, gpus: float = 0, memory_gb: float = 32, kind: str = "") -> Node:
    types = {f"accelerator_type:{kind}": 1.0} if kind else {}
    return Node("n", "host", {"CPU": cpus, "GPU": gpus, "memory": memory_gb * GIB, **types})


@pytest.mark.parametrize(
    ("needs", "kind", "share"),
    [
        ({"gpus": 1, "gpu_memory_gb": 8}, "A100-80G", 0.125),  # 8.8 of 80
        ({"gpus": 1, "gpu_memory_gb": 9.5}, "A100-80G", 0.25),  # 10.45 of 80
        ({"gpus": 1, "gpu_memory_gb": 30}, "A100-80G", 0.5),
        ({"gpus": 1, "gpu_memory_gb": 40}, "A100-80G", 1.0),  # 44 of 80
        ({"gpus": 1, "gpu_memory_gb": 8}, "A100", 0.25),
        ({"gpus": 1, "gpu_memory_gb": 8}, "", 1),  # nobody knows how much the GPU has
        ({"gpus": 1, "gpu_memory_gb": 8}, "Abacus", 1),
        ({"gpus": 1}, "A100-80G", 1),
        ({"gpus": 2, "gpu_memory_gb": 8}, "A100-80G", 2),
        ({"gpus": 0.25, "gpu_memory_gb": 60}, "A100-80G", 0.25),  # asked for in so many words
        ({}, "A100-80G", 0),
    ],
)
def test_the_share_of_a_gpu_follows_the_memory_estimate(needs: dict, kind: str, share: float) -> None:
    assert request_of(needs, [node(gpus=4, kind=kind)]).gpus == share


MIXED = [node(gpus=4, kind="A100-80G"), node(gpus=2, kind="T4"), node(gpus=4, kind="A100"), node()]


@pytest.mark.parametrize(
    ("gigabytes", "kind", "share"),
    [(6, "T4", 0.5), (16, "T4", 1.0), (17, "A100", 0.5), (41, "A100-80G", 1.0)],
)
def test_on_a_mixed_cluster_the_smallest_type_that_holds_it(
    gigabytes: float, kind: str, share: float
) -> None:
    request = request_of({"gpus": 1, "gpu_memory_gb": gigabytes}, MIXED)
    assert (request.gpu_type, request.gpus) == (kind, share)
    assert [request.copies(one) > 0 for one in MIXED] == [one.gpu_type == kind for one in MIXED]


def test_types_are_told_apart_only_where_it_matters() -> None:
    alike = [node(gpus=4, kind="A100-80G"), node(gpus=2, kind="H100"), node()]
    assert request_of({"gpus": 1, "gpu_memory_gb": 6}, alike).gpu_type is None
    assert request_of({"gpus": 1}, MIXED).gpu_type is None
    assert request_of({}, MIXED).types == {}
    unknown = [*MIXED, node(gpus=1, kind="Abacus")]
    assert request_of({"gpus": 1, "gpu_memory_gb": 6}, unknown).resources.keys() == {"CPU", "GPU", "memory"}


@pytest.mark.parametrize(
    ("needs", "kind"),
    [
        ({"gpu_memory_gb": 16, "cpus": 4}, "H100"),  # 1 against 128
        ({"gpu_memory_gb": 16, "cpus": 16}, "H100"),  # the small GPU's node has 8 cores
        ({"gpu_memory_gb": 16, "gpus": 4}, "H100"),  # and 1 GPU
    ],
)
def test_one_small_gpu_does_not_keep_many_large_ones_idle(needs: dict, kind: str) -> None:
    nodes = [node(cpus=64, gpus=8, memory_gb=500, kind="H100") for _ in range(8)]
    nodes += [node(cpus=8, gpus=1, memory_gb=60, kind="A10G")]
    request = request_of({"gpus": 1, "memory_gb": 16, **needs}, nodes)
    assert request.gpu_type == kind
    assert sum(request.copies(one) for one in nodes) > 1


def test_what_no_type_holds_is_asked_of_any() -> None:
    assert request_of({"gpus": 1, "gpu_memory_gb": 200}, MIXED).gpu_type is None


def test_two_gpus_are_two_of_a_type_that_holds_it() -> None:
    request = request_of({"gpus": 2, "gpu_memory_gb": 30}, MIXED)
    assert (request.gpus, request.gpu_type) == (2, "A100")
    assert request.resources["accelerator_type:A100"] == 0.001


def test_what_holds_several_requests_in_turn() -> None:
    small, large = Request(4, 0.5, GIB, "T4"), Request(1, 1, 2 * GIB, "A100-80G")
    assert largest([small, large]) == Request(4, 1, 2 * GIB, "A100-80G")
    assert largest([Request(1, 0, GIB)]).gpu_type is None


@pytest.mark.parametrize(
    ("request_", "held", "copies"),
    [
        (Request(1, 0, GIB), node(cpus=8, memory_gb=4), 4),
        (Request(3, 0, GIB), node(cpus=8), 2),
        (Request(1, 0.25, GIB), node(gpus=2), 8),
        (Request(1, 0.5, GIB), node(gpus=2, cpus=3), 3),
        (Request(1, 2, GIB), node(gpus=3), 1),
        (Request(1, 1, GIB), node(), 0),
        (Request(1, 0.3, GIB), node(gpus=1), 3),
    ],
)
def test_copies(request_: Request, held: Node, copies: int) -> None:
    assert request_.copies(held) == copies


@given(
    st.integers(1, 64),
    st.integers(0, 8),
    st.sampled_from([0.0, 0.125, 0.25, 0.5, 1.0, 2.0]),
    st.integers(1, 8),
)
def test_copies_never_exceed_the_node(cpus: int, gpus: int, share: float, wanted: int) -> None:
    request, held = Request(wanted, share, GIB), node(cpus=cpus, gpus=gpus)
    copies = request.copies(held)
    assert copies * wanted <= cpus
    assert copies * share <= gpus


def test_what_is_lacking_names_both_sides() -> None:
    text = lacking(Request(2, 4, 3 * GIB), [node(gpus=1), node(cpus=64)])
    assert text == (
        "it needs 2 CPUs, 4 GPUs, 3.0 GiB of memory on one node; the most that any node has is "
        "64 CPUs, 1 GPU, 32.0 GiB of memory"
    )


def test_a_type_that_is_lacking_is_named() -> None:
    text = lacking(Request(2, 9, GIB, "T4"), MIXED)
    assert text.startswith("it needs 2 CPUs, 9 GPUs, 1.0 GiB of memory, GPUs of type T4 on one node; ")
