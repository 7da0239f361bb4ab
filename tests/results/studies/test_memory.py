"""Answers that are computed once while someone wishes it, and only then."""

import pandas as pd
import pytest

from results.studies.memory import remembered, remembering


@pytest.fixture
def asked() -> list[tuple[object, ...]]:
    return []


@pytest.fixture
def ask(asked):
    @remembered
    def answer(*question: object, more: object = None) -> list[object]:
        asked.append((*question, more))
        return [*question, more]

    return answer


def test_without_the_wish_every_question_is_answered_anew(ask, asked) -> None:
    assert ask(1) == ask(1) == [1, None]
    assert len(asked) == 2


def test_with_it_the_same_question_has_one_answer_and_others_their_own(ask, asked) -> None:
    frame = pd.DataFrame({"a": [1]})
    with remembering():
        assert ask(1, ["x", "y"]) is ask(1, ["x", "y"])
        assert ask(frame) is ask(frame)
        for question in ((1, ["x", "z"]), (frame.copy(),), (1, {"x": 2}), (1, {"x": 3}), ()):
            ask(*question)
        ask(more=2)
        assert ask(more=2) is not ask(more=3)
    assert len(asked) == 9


def test_afterwards_all_is_forgotten_whatever_happened(ask, asked) -> None:
    with pytest.raises(ZeroDivisionError), remembering():
        ask(1)
        raise ZeroDivisionError
    with remembering():
        ask(1)
    assert len(asked) == 2


def test_a_question_that_fails_is_asked_again() -> None:
    tries: list[int] = []

    @remembered
    def fails() -> None:
        tries.append(1)
        raise ValueError

    with remembering():
        for _ in range(2):
            with pytest.raises(ValueError):
                fails()
    assert len(tries) == 2
