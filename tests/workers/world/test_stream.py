"""Draws: uniform enough, distinct where promised, equal for equal names."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.world.facts import RELATIONS, SUBJECTS, draw_facts, facts_by_entity
from workers.world.reasoning import TASKS, draw_training_problem, held_out_problems
from workers.world.stream import Stream


def test_known_sequence() -> None:
    stream = Stream(0, "golden")
    assert [stream.below(100) for _ in range(5)] == [88, 41, 12, 9, 25]


def test_names_give_other_streams() -> None:
    draws = {tuple(Stream(seed, name).shuffled(range(20))) for seed in (0, 1) for name in ("a", "b")}
    assert len(draws) == 4


@given(st.lists(st.integers(), max_size=20), st.integers())
def test_shuffled_keeps_items(items: list[int], seed: int) -> None:
    assert Counter(Stream(seed, "x").shuffled(items)) == Counter(items)


@given(st.integers(1, 30), st.integers(0, 90))
def test_cycle_is_balanced(size: int, count: int) -> None:
    counts = Counter(Stream(0, "x").cycle(range(size), count))
    assert sum(counts.values()) == count
    assert max(counts.values(), default=0) - min((counts[item] for item in range(size)), default=0) <= 1


def test_sample_is_distinct_and_bounded() -> None:
    assert sorted(Stream(0, "x").sample(range(5), 5)) == list(range(5))
    with pytest.raises(ValueError, match="6 distinct items from 5"):
        Stream(0, "x").sample(range(5), 6)


def test_weights() -> None:
    stream = Stream(0, "x")
    counts = Counter(stream.pick_weighted((("a", 3.0), ("b", 1.0), ("c", 0.0))) for _ in range(4000))
    assert counts["c"] == 0 and 0.7 < counts["a"] / 4000 < 0.8


@given(st.integers())
def test_facts_are_balanced(seed: int) -> None:
    facts = draw_facts(seed)
    assert len(facts) == 128 and len(facts_by_entity(facts)) == 32
    for relation in RELATIONS:
        counts = Counter(fact.value for fact in facts if fact.relation is relation)
        assert set(counts.values()) == {len(relation.entities) // len(relation.values)}
    assert Counter(fact.relation.subject for fact in facts) == dict.fromkeys(SUBJECTS, 32)


def solve(question: str) -> str:
    """An independent solver of the four reasoning tasks."""
    if question.startswith("i have"):
        return ("one", "two", "three", "four", "five")[question.count("a ") - 1]
    if "older" in question:
        words = question.replace(".", "").split()
        return words[0] if "oldest" in question else words[9]
    if question.startswith("the "):
        listed = question.removesuffix(" is").split(" of ")[1].split(", ")
        return listed[0] if "first" in question else listed[-1]
    python = question.removesuffix(" is").replace("true", "True").replace("false", "False")
    return str(eval(python)).lower()


@pytest.mark.parametrize("seed", range(3))
def test_problems_are_right(seed: int) -> None:
    problems = held_out_problems(seed, 32)
    assert len(problems) == 32 * len(TASKS)
    for problem in problems:
        assert solve(problem.input) == problem.target


def test_training_problems_avoid_the_test() -> None:
    held_out = frozenset(problem.input for problem in held_out_problems(0, 32))
    stream = Stream(0, "x")
    assert all(draw_training_problem(stream, held_out).input not in held_out for _ in range(500))
