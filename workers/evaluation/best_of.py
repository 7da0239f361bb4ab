"""Best-of-n: of n answers that are drawn to each prompt, the one that the reward model scores highest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from results.records import MetricRow
from workers.context import metric
from workers.evaluation.batches import Tokens
from workers.evaluation.benchmark import estimate_row
from workers.evaluation.candidate import Candidate
from workers.evaluation.drawing import Drawing
from workers.evaluation.generation import Completion
from workers.evaluation.questions import Asked
from workers.evaluation.statistics import mean
from workers.online.reward import RewardModel
from workers.specs.generate import GenerateRecipe, PromptSet


@dataclass(frozen=True)
class Best:
    """The kept answer to a prompt and its score, and the scores of all that were drawn, in their order."""

    completion: Completion
    score: float
    scores: tuple[float, ...]


def best_answers(
    prompts: PromptSet, found: Asked, recipe: GenerateRecipe, candidate: Candidate, reward: RewardModel
) -> list[Best]:
    """The best of `recipe.best_of` answers to each prompt of a set; of equal scores the first drawn.

    Draw k of an item follows from seed, set, item and k alone, and the first is what `best_of: 1` answers: the
    answers among which a larger n chooses hold those of a smaller one.
    """
    count = recipe.best_of
    names = [draw_name(prompts.name, item, number) for item in found.items for number in range(count)]
    tokens: list[Tokens] = [ids for ids in found.tokens for _ in range(count)]
    choose = Drawing(recipe.temperature, recipe.top_p, prompts.new_tokens, recipe.seed, names)
    completions = candidate.complete(tokens, prompts.new_tokens, choose=choose)
    end = int(candidate.tokenizer.eos_token_id)
    answers = [(*one.tokens, end) if one.ended else one.tokens for one in completions]
    ended = [one.ended for one in completions]
    scores = candidate.answers.ask(len(tokens), lambda: reward.score(tokens, answers, ended))
    starts = range(0, len(completions), count)
    return [_best(completions[start : start + count], scores[start : start + count]) for start in starts]


def draw_name(prompt_set: str, item: int, number: int) -> str:
    """The name of the stream of one draw; the first has that of an item which is drawn once."""
    return f"{prompt_set}/{item}" if number == 0 else f"{prompt_set}/{item}/{number}"


def _best(completions: Sequence[Completion], scores: Sequence[float]) -> Best:
    place = max(range(len(scores)), key=lambda number: (scores[number], -number))
    return Best(completions[place], scores[place], tuple(scores))


def best_rows(task: str, found: Sequence[Best]) -> list[MetricRow]:
    """The mean score of the kept answers and of all drawn ones, n, and how far the choice can move the policy.

    `kl_bound` is `ln n - (n - 1) / n` nats an answer (Stiennon et al., arXiv 2009.01325, appendix G.3): the divergence
    from the policy that is drawn from, where no two answers score alike.
    """
    count = len(found[0].scores)
    drawn = [sum(one.scores) / count for one in found]
    return [
        estimate_row(task, "score", mean([one.score for one in found]), ""),
        estimate_row(task, "score_mean", mean(drawn), ""),
        metric(task, count, metric="best_of", n=len(found), unit="answers"),
        metric(task, kl_bound(count), metric="kl_bound", unit="nats"),
    ]


def kl_bound(count: int) -> float:
    """`ln n - (n - 1) / n`."""
    return math.log(count) - (count - 1) / count
