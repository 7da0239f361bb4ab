"""What a judge is: the one interface of rules, classifiers, language models and services."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from workers.context import BadInput, StageContext
from workers.evaluation.answers import Answers
from workers.specs.judge import JudgeRecipe


@dataclass(frozen=True)
class Question:
    """What a judge is asked about a prompt.

    `outputs` are one answer to be scored or judged, or two to be compared, in the order in which they are shown.
    `truth` is an answer known to be right, where there is one; only the embedded world's rule looks at it.
    """

    prompt: str
    outputs: tuple[str, ...]
    truth: str | None = None


@dataclass(frozen=True)
class Opinion:
    """What a judge said.

    `choice` is `first`, `second` or `tie` of a pair, `yes` or `no` of one answer, and None where its words cannot be
    read (`unparsed`). `score` is a number, higher is better: of a pair how much the first is ahead. `cut` tells that
    the judge saw only a part of the text.
    """

    choice: str | None = None
    score: float | None = None
    cut: bool = False


class Judge(Protocol):
    """Answers questions, batch by batch.

    Each batch goes through `answers`, so that another attempt continues in the middle. The order of batches depends
    on nothing but the questions.
    """

    def opinions(self, questions: Sequence[Question], answers: Answers) -> list[Opinion]:
        """One opinion for each question, in their order.

        Raises:
            BadInput: the judge cannot work at all: no model, no key, an instruction that lacks a place.
            TransientFailure: a service does not answer.
        """
        ...


@contextmanager
def open_judge(recipe: JudgeRecipe, context: StageContext) -> Iterator[Judge]:
    """The judge that a recipe names, ready to be asked.

    Raises:
        BadInput: see `Judge.opinions`.
    """
    match recipe.judge.kind:
        case "classifier":
            from workers.judging.classifier import open_classifier

            with open_classifier(recipe, context) as judge:
                yield judge
        case "causal":
            from workers.judging.causal import open_causal

            with open_causal(recipe, context) as judge:
                yield judge
        case "endpoint":
            from workers.judging.endpoint import open_endpoint

            with open_endpoint(recipe, context) as judge:
                yield judge
        case "rule":
            from workers.judging.rule import RuleJudge

            yield RuleJudge(recipe)
        case _:
            raise BadInput("the recipe names no judge; it is one of rule, classifier, causal, endpoint")
