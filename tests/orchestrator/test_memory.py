"""Stages that ran out of memory ask for more the next time, in a shape of their own."""

import pytest

from orchestrator.dispatch import Work
from orchestrator.memory import raise_memory
from orchestrator.remainder import remaining_work
from tests.orchestrator.lab import SHAPE, FakeBackend, Lab, chosen, stage_id


def work(lab: Lab, failures: int, limit: float | None = None) -> Work:
    lab.finish("base")
    for _ in range(failures):
        lab.fail("train-sft-0", ending="host_out_of_memory")
    view = lab.view()
    backend = FakeBackend()
    backend.memory_limit_gb = lambda needs: limit  # type: ignore[method-assign]
    return raise_memory(view, remaining_work(view, chosen(view)), backend)


def memory(made: Work, name: str) -> float:
    (item,) = [one for one in made.items if one.stage == stage_id(name)]
    return float(made.shapes[item.shape]["memory_gb"])


@pytest.mark.parametrize(("failures", "gigabytes"), [(0, 2.0), (1, 3.0), (2, 4.5)])
def test_half_as_much_again_with_each_failure(lab: Lab, failures: int, gigabytes: float) -> None:
    assert memory(work(lab, failures), "train-sft-0") == gigabytes


def test_others_keep_their_shape(lab: Lab) -> None:
    made = work(lab, 1)
    assert memory(made, "train-sft-1") == SHAPE["memory_gb"]
    assert len({item.shape for item in made.items}) == 2


@pytest.mark.parametrize(("limit", "gigabytes"), [(4.0, 4.0), (1.0, 2.0)])
def test_no_more_than_a_node_has_and_no_less_than_before(lab: Lab, limit: float, gigabytes: float) -> None:
    assert memory(work(lab, 2, limit), "train-sft-0") == gigabytes
