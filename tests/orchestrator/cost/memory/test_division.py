"""Predicted memory of a process against measured, for trainings that two processes share."""

import pytest

from tests.orchestrator.cost.memory.divided import HELD_OUT, READ_OFF
from tests.orchestrator.cost.memory.test_measured import check


@pytest.mark.slow
@pytest.mark.parametrize("name", [*READ_OFF, *HELD_OUT])
def test_memory_of_a_process_is_predicted(name: str) -> None:
    case = (READ_OFF | HELD_OUT)[name]
    if case.strategy != "ddp":
        pytest.importorskip("deepspeed", reason="needs yates[deepspeed]")
    check(name, case)


def test_a_process_of_a_divided_training_is_predicted() -> None:
    check("sft other, ddp", HELD_OUT["sft other, ddp"])


def test_half_of_the_configurations_were_held_out() -> None:
    assert len(HELD_OUT) >= len(READ_OFF) >= 18
    assert not set(READ_OFF.values()) & set(HELD_OUT.values())
