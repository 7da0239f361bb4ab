"""Is a fact supported by what is known of its topic? By the truth of the embedded world, or by a judge."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from workers.context import StageContext
from workers.evaluation.answers import Answers
from workers.judging.factuality_knowledge import true_claims
from workers.judging.judge import Judge, Question, open_judge
from workers.specs.data import DataSource
from workers.specs.factuality import FactualityRecipe
from workers.specs.judge import JudgeRecipe, JudgeSettings

VERDICTS = {"yes": False, "no": True}
"""Judges of single answers say whether there is something wrong with it: here, that the text does not support it."""


@dataclass(frozen=True)
class Claim:
    """A fact, and the knowledge that it is compared with."""

    knowledge: str
    fact: str


Verify = Callable[[Sequence[Claim], Answers], list[bool | None]]


@contextmanager
def open_verifier(recipe: FactualityRecipe, context: StageContext) -> Iterator[Verify]:
    """What says of each claim whether it is supported, None where the verdict cannot be read.

    Raises:
        BadInput: the recipe names nobody, or a model, a key or an instruction is missing or malformed.
    """
    if recipe.judge.kind == "rule":
        yield partial(_by_truth, true_claims(recipe.knowledge, context))
    else:
        with open_judge(asking(recipe), context) as judge:
            yield partial(_by_judge, judge)


def asking(recipe: FactualityRecipe) -> JudgeRecipe:
    """The settings of the judge, in the terms of judges."""
    packaged = DataSource(hub=str(Path(__file__).parent / "instructions" / "support.txt"))
    judge = recipe.judge
    return JudgeRecipe(
        seed=recipe.seed,
        threads=recipe.threads,
        task=recipe.task,
        shape="verdict",
        judge=JudgeSettings(classifier=judge.classifier, causal=judge.causal, endpoint=judge.endpoint),
        instruction=recipe.instruction or packaged,
        labels=recipe.labels[::-1],
        batch_size=recipe.batch_size,
        max_length=recipe.max_length,
    )


def _by_truth(true: frozenset[str], claims: Sequence[Claim], answers: Answers) -> list[bool | None]:
    return [claim.fact in true for claim in claims]


def _by_judge(judge: Judge, claims: Sequence[Claim], answers: Answers) -> list[bool | None]:
    questions = [Question(claim.knowledge, (claim.fact,)) for claim in claims]
    return [VERDICTS.get(opinion.choice or "") for opinion in judge.opinions(questions, answers)]
