from workers.evaluation.recall import CAPACITY, recalled


def test_a_value_is_prepared_once_for_a_key():
    memory: dict[str, object] = {}
    made: list[int] = []
    prepare = lambda: made.append(1) or object()  # noqa: E731
    first = recalled(memory, "a", prepare)
    assert recalled(memory, "a", prepare) is first
    assert recalled(memory, "b", prepare) is not first
    assert len(made) == 2


def test_memory_is_bounded_and_keeps_what_is_used():
    memory: dict[str, object] = {}
    first = recalled(memory, "first", object)
    for number in range(CAPACITY - 1):
        recalled(memory, number, object)
    assert recalled(memory, "first", object) is first
    recalled(memory, "one more", object)
    assert recalled(memory, "first", object) is first
    assert len(memory["evaluation"]) == CAPACITY


def test_memories_are_apart():
    assert recalled({}, "a", object) is not recalled({}, "a", object)
