from types import SimpleNamespace

from workers.evaluation.recall import CAPACITY, recalled


def sized(size):
    return lambda: SimpleNamespace(size=size)


def test_a_value_is_prepared_once_for_a_key():
    memory: dict[str, object] = {}
    first = recalled(memory, "a", sized(1))
    assert recalled(memory, "a", sized(2)) is first
    assert recalled(memory, "b", sized(1)) is not first


def test_memory_is_bounded_and_keeps_what_is_used():
    memory: dict[str, object] = {}
    first = recalled(memory, "first", sized(CAPACITY // 2))
    recalled(memory, "second", sized(CAPACITY // 4))
    recalled(memory, "first", sized(0))
    recalled(memory, "third", sized(CAPACITY // 2))
    assert recalled(memory, "first", sized(0)) is first
    assert set(memory["evaluation"]) == {"first", "third"}


def test_what_is_too_large_is_given_but_not_kept():
    memory: dict[str, object] = {}
    large = recalled(memory, "large", sized(CAPACITY + 1))
    assert large.size == CAPACITY + 1
    assert not memory["evaluation"]


def test_memories_are_apart():
    assert recalled({}, "a", sized(1)) is not recalled({}, "a", sized(1))
