"""What an actor asks of Ray, by hand-worked examples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.ray.shapes import GIB, Node, Request, lacking, request_of


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


def test_the_smallest_gpu_of_the_cluster_decides_the_share() -> None:
    nodes = [node(gpus=4, kind="A100-80G"), node(gpus=1, kind="T4"), node()]
    assert request_of({"gpus": 1, "gpu_memory_gb": 6}, nodes).gpus == 0.5


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
