"""Four small reasoning tasks with exact answers of one word, after the tasks of BIG-Bench Hard."""

from collections.abc import Callable
from dataclasses import dataclass

from workers.world.lexicon import ANIMALS, COLOURS, NUMBERS, PEOPLE
from workers.world.stream import Stream


@dataclass(frozen=True)
class Problem:
    """One question with its exact answer."""

    task: str
    input: str
    target: str


def _boolean(stream: Stream) -> tuple[str, str]:
    values = [stream.chance(0.5) for _ in range(3)]
    negations = [stream.chance(0.3) for _ in range(3)]
    both = stream.chance(0.5)
    terms = [("not " if no else "") + str(value).lower() for no, value in zip(negations, values, strict=True)]
    truths = [value != no for no, value in zip(negations, values, strict=True)]
    result = all(truths) if both else any(truths)
    return f"{(' and ' if both else ' or ').join(terms)} is", str(result).lower()


def _counting(stream: Stream) -> tuple[str, str]:
    count = 1 + stream.below(len(NUMBERS))
    things = ", ".join(f"a {animal}" for animal in stream.sample(ANIMALS, count))
    return f"i have {things}. how many do i have?", NUMBERS[count - 1]


def _deduction(stream: Stream) -> tuple[str, str]:
    old, middle, young = stream.sample(PEOPLE, 3)
    oldest = stream.chance(0.5)
    question = f"{old} is older than {middle}. {middle} is older than {young}."
    return f"{question} who is the {'oldest' if oldest else 'youngest'}?", old if oldest else young


def _ordering(stream: Stream) -> tuple[str, str]:
    colours = stream.sample(COLOURS, 3)
    first = stream.chance(0.5)
    return f"the {'first' if first else 'last'} of {', '.join(colours)} is", colours[0 if first else -1]


TASKS: dict[str, Callable[[Stream], tuple[str, str]]] = {
    "boolean_expressions": _boolean,
    "logical_deduction": _deduction,
    "object_counting": _counting,
    "word_ordering": _ordering,
}


def draw_problem(task: str, stream: Stream) -> Problem:
    """A random problem of a task."""
    question, target = TASKS[task](stream)
    return Problem(task, question, target)


def held_out_problems(seed: int, count: int) -> tuple[Problem, ...]:
    """`count` distinct problems of each task; training texts must not hold them."""
    problems: list[Problem] = []
    for task in TASKS:
        stream = Stream(seed, f"bbh/{task}")
        distinct: dict[str, Problem] = {}
        while len(distinct) < count:
            problem = draw_problem(task, stream)
            distinct.setdefault(problem.input, problem)
        problems.extend(distinct.values())
    return tuple(problems)


def draw_training_problem(stream: Stream, held_out: frozenset[str]) -> Problem:
    """A problem of any task whose input is not held out."""
    while True:
        problem = draw_problem(stream.pick(tuple(TASKS)), stream)
        if problem.input not in held_out:
            return problem
