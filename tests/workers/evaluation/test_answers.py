import json

from workers.evaluation.answers import Answers


def test_computes_what_no_earlier_attempt_answered():
    seen: list[int] = []
    answers = Answers([["known"]], seen.append)
    assert answers.ask(3, lambda: ["computed"]) == ["known"]
    assert answers.ask(2, lambda: ["computed"]) == ["computed"]
    assert seen == [3, 2]
    assert answers.given == [["known"], ["computed"]]


def test_answers_survive_json_exactly():
    answers = Answers()
    answers.ask(1, lambda: [[-12.345678901234567, 1.0], [float("-inf"), 0.0]])
    again = Answers(json.loads(json.dumps(answers.given)))
    assert again.ask(1, lambda: None) == answers.given[0]


def test_the_first_question_is_computed_once():
    calls: list[int] = []
    Answers().ask(1, lambda: calls.append(1))
    assert calls == [1]
