"""The retry rules of section 7, each from the records of attempts alone."""

import pytest

from results.records import AttemptRecord, Ending
from workers.failures import CHILD_KILLED, held_kinds, next_micro_batch, signature, verdict


def record(
    ending: Ending, step: int = 0, message: str = "", kind: str = "dpo", **execution: object
) -> AttemptRecord:
    fields = {"ending": ending, "step": step, "message": message, "kind": kind, "execution": execution}
    return AttemptRecord(**{"fingerprint": {"code": "old"}, **fields})  # type: ignore[typeddict-item]


@pytest.mark.parametrize("ending", ["preempted", "lost", "superseded", "cancelled"])
def test_what_is_not_the_stages_fault_is_never_charged(ending: Ending) -> None:
    assert verdict([record(ending) for _ in range(50)]) == "again"


@pytest.mark.parametrize(("ending", "tries"), [("hung", 2), ("transient", 4), ("host_out_of_memory", 3)])
def test_bounded_classes(ending: Ending, tries: int) -> None:
    assert verdict([record(ending)] * (tries - 1)) == "again"
    assert verdict([record(ending)] * tries) == "failed"


def test_a_time_out_is_tried_again_only_when_the_step_advanced() -> None:
    assert verdict([record("timeout", 10)]) == "again"
    assert verdict([record("timeout", 10), record("timeout", 20)]) == "again"
    assert verdict([record("timeout", 10), record("timeout", 10)]) == "failed"


def test_out_of_gpu_memory_halves_the_micro_batch_until_one() -> None:
    first = record("gpu_out_of_memory", micro_batch=None)
    assert (verdict([first]), next_micro_batch([first], 16)) == ("again", 8)
    second = record("gpu_out_of_memory", micro_batch=8)
    assert next_micro_batch([first, second], 16) == 4
    assert verdict([record("gpu_out_of_memory", micro_batch=1)]) == "failed"


def test_a_bug_is_tried_again_by_other_code_and_bad_input_is_not() -> None:
    assert verdict([record("bug")], code="old") == "failed"
    assert verdict([record("bug")], code="new") == "again"
    assert verdict([record("bad_input")], code="new") == "failed"


def test_a_stage_that_kills_its_worker_at_the_same_step_is_given_up() -> None:
    killed = [record("lost", 3, f"{CHILD_KILLED} (signal 9)")] * 5
    assert verdict(killed) == "failed"
    assert verdict([*killed[:4], record("lost", 4, f"{CHILD_KILLED} (signal 9)")]) == "again"


def test_alike_failures_differ_only_in_numbers() -> None:
    one, two = record("bug", message="index 17 of a1b2c3d4e5"), record("bug", message="index 3 of ffffffffff")
    assert signature(one) == signature(two)
    assert signature(one) != signature(record("bug", message="no such key"))


def test_a_kind_is_held_after_three_alike_failures() -> None:
    endings = {f"s{number}": [record("bug", message=f"index {number}")] for number in range(2)}
    assert held_kinds(endings) == {}
    endings["s2"] = [record("bug", message="index 9")]
    assert "3 stages failed alike" in held_kinds(endings)["dpo"]
    assert held_kinds(endings, code="new") == {}
