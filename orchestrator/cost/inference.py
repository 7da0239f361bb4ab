"""Seconds of the stages that only read weights: reference log-probabilities, benchmarks, generation.

Scoring is bound by operations. Generation reads every weight once for each new token of a batch, so it is bound by
memory, or by the host that launches the kernels; greedy answers are counted at their full allowed length, for one
row that does not end keeps its batch going.
"""

from dataclasses import dataclass
from math import ceil
from typing import Any

from orchestrator.cost.accelerators import Accelerator
from orchestrator.cost.lengths import (
    BBH,
    BBH_SHOT,
    FEW_SHOT,
    MMLU,
    MMLU_DESCRIPTION,
    MMLU_SHOT,
    PROMPTS,
    WORLD_QUESTION,
    WORLD_TEXT,
    pair_lengths,
    template_tokens,
    unknown_row,
)
from orchestrator.cost.passes import Model, forward
from workers.specs.data import PreferenceData, Template
from workers.specs.evaluate import Benchmark

ITEMS = {
    "mmlu": 14_042,
    "bbh": 6_511,
    "preference_accuracy": 2_000,
    "alpaca_eval": 805,
    "red_instruct": 200,
    "windowed_perplexity": 300,
    **{name: items for name, (items, _, _) in FEW_SHOT.items()},
}
"""Items of the published test sets (of `preference_accuracy`: pairs of one held-out set; of `windowed_perplexity`:
windows of 1,024 tokens of WikiText-2)."""
DEFAULT_ITEMS = 500
WORLD_ANSWER = 8.0
"""New tokens after which every row of a batch of the embedded world has ended."""
REQUEST_SECONDS = 2.0
"""How long a service takes to judge a pair."""
ANSWER = 300.0
"""The tokens of a typical whole answer, where it may be as long."""
INSTRUCTION = 150.0
"""The tokens of what a judge is told beside prompt and answers."""
MMLU_SUBJECTS = 57
"""The questions of a subject share their shots, which are read once."""
LETTERS = 4.0
"""Positions of a row whose logits a choice needs."""


@dataclass(frozen=True)
class Asked:
    """`items` rows of `tokens` tokens, of which `scored` positions are scored, then `new_tokens` generated.

    The rows go on from `prefix` tokens that are read once for each of `groups` groups of rows.
    """

    items: float
    tokens: float
    scored: float = 1.0
    new_tokens: float = 0.0
    prefix: float = 0.0
    groups: int = 0


def asked_seconds(asked: Asked, model: Model, accelerator: Accelerator, batch: int) -> float:
    """The time of all rows in batches of `batch`, longest first, so that padding is little."""
    rows = min(float(batch), asked.items)
    if rows <= 0:
        return 0.0
    batches = ceil(asked.items / rows)
    once = accelerator.seconds(forward(model, 1.0, asked.prefix, 0.0)) if asked.prefix else 0.0
    seconds = accelerator.seconds(forward(model, rows, asked.tokens, asked.scored, asked.prefix))
    if asked.new_tokens > 1:
        past = asked.tokens + asked.new_tokens / 2
        seconds += (asked.new_tokens - 1) * accelerator.seconds(forward(model, rows, 1.0, past=past))
    return asked.groups * once + batches * seconds


def reference_seconds(recipe: Any, model: Model, accelerator: Accelerator) -> float:
    """Both sides of every drawn pair, once."""
    preferences: PreferenceData = recipe.preferences
    length = pair_lengths(preferences, recipe.template, preferences.max_length).longer.mean
    pairs = float(preferences.samples or DEFAULT_ITEMS)
    return asked_seconds(Asked(2 * pairs, length, length), model, accelerator, 2 * recipe.batch_size)


def evaluation_seconds(recipe: Any, model: Model, accelerator: Accelerator) -> float:
    """All benchmarks of an `evaluate` recipe."""
    rows = [one for benchmark in recipe.benchmarks for one in _asked(benchmark, recipe)]
    return sum(asked_seconds(one, model, accelerator, recipe.batch_size) for one in rows)


def generation_seconds(recipe: Any, model: Model, accelerator: Accelerator) -> float:
    """All prompt sets of a `generate` recipe; each has a source, perhaps a limit, and a number of new tokens.

    Of several answers to a prompt every one is scored by a reward model of the same size.
    """
    draws = float(getattr(recipe, "best_of", 1))
    around = template_tokens(recipe.template, 1.0)
    total = 0.0
    for prompts in recipe.prompts:
        form = str(getattr(prompts, "format", "prompts"))
        world = getattr(getattr(prompts, "source", None), "world", None) is not None
        tokens = WORLD_QUESTION if world else PROMPTS.get(form, PROMPTS["prompts"])
        items = draws * prompt_set_items(prompts)
        new = min(prompts.new_tokens, WORLD_ANSWER) if world else prompts.new_tokens
        asked = Asked(items, tokens + around, new_tokens=new)
        total += asked_seconds(asked, model, accelerator, recipe.batch_size)
        if draws > 1:
            total += asked_seconds(Asked(items, tokens + around + new), model, accelerator, recipe.batch_size)
    return total


def prompt_set_items(prompts: Any) -> float:
    """How many prompts a set has, at most; of an unknown one, a guess."""
    form = str(getattr(prompts, "format", "prompts"))
    return float(getattr(prompts, "limit", None) or ITEMS.get(form, DEFAULT_ITEMS))


def judging_seconds(
    recipe: Any, answers: Any, model: Model, accelerator: Accelerator, concurrency: int
) -> float:
    """Verdicts on the answers of the `generate` recipe `answers`: of a local model, of a service, or of a rule.

    A service's answers come `concurrency` at a time.
    """
    prompts = next((one for one in getattr(answers, "prompts", ()) if one.name == recipe.task), None)
    form = str(getattr(prompts, "format", "prompts"))
    items = prompt_set_items(prompts)
    pairs = recipe.shape == "pairwise"
    requests = items * (2 if pairs and recipe.orders == "both" else 1)
    judge = recipe.judge
    if judge.endpoint is not None:
        return requests * REQUEST_SECONDS / concurrency
    answer = min(float(getattr(prompts, "new_tokens", ANSWER)), ANSWER)
    tokens = min(float(recipe.max_length), PROMPTS[form] + answer)
    if judge.causal is not None:
        tokens = min(float(recipe.max_length), tokens + answer * pairs + INSTRUCTION)
    asked = Asked(requests if judge.causal or judge.classifier else 0.0, tokens)
    return asked_seconds(asked, model, accelerator, recipe.batch_size)


def _asked(benchmark: Benchmark, recipe: Any) -> list[Asked]:
    """What a benchmark asks for; one of the user's is taken to generate."""
    items = float(benchmark.limit or ITEMS.get(benchmark.task.removesuffix("_legacy"), DEFAULT_ITEMS))
    if benchmark.preferences:
        return [_pairs(data, items, recipe) for data in benchmark.preferences]
    world = benchmark.source.world is not None
    tokens = _prompt_tokens(benchmark, recipe.template, recipe.max_length, world)
    if benchmark.task == "mmlu":
        shots = 0.0 if world else benchmark.shots * MMLU_SHOT
        prefix = min(shots, max(0.0, recipe.max_length - tokens))
        return [Asked(items, tokens, LETTERS, prefix=prefix, groups=MMLU_SUBJECTS)]
    if benchmark.task in ("perplexity", "windowed_perplexity"):
        return [Asked(items, tokens, tokens)]
    if few_shot_set(benchmark.task) is not None:
        return [_few_shot(benchmark, items, recipe)]
    new = min(float(benchmark.new_tokens), WORLD_ANSWER) if world else float(benchmark.new_tokens)
    return [Asked(items, tokens, new_tokens=new)]


def few_shot_set(task: str) -> tuple[int, int, float] | None:
    """Items of a few-shot set, how many readings one takes, and the tokens of an item."""
    return FEW_SHOT.get(task.removesuffix("_legacy"))


def _few_shot(benchmark: Benchmark, items: float, recipe: Any) -> Asked:
    """Each candidate answer that has several tokens is a row of its own; examples differ from item to item."""
    found = few_shot_set(benchmark.task)
    assert found is not None
    _, readings, each = found
    tokens = min(float(recipe.max_length), each * (1 + benchmark.shots))
    return Asked(items * readings * max(1, len(benchmark.draws)), tokens, LETTERS)


def _pairs(data: PreferenceData, items: float, recipe: Any) -> Asked:
    tokens = pair_lengths(data, recipe.template, recipe.max_length).chosen.mean
    return Asked(2 * float(data.samples or items), tokens, tokens / 2)


def _prompt_tokens(benchmark: Benchmark, template: Template, longest: int, world: bool) -> float:
    if world:
        return WORLD_TEXT if benchmark.task == "perplexity" else WORLD_QUESTION * (1 + benchmark.shots)
    if benchmark.task == "windowed_perplexity":
        return float(longest)
    if benchmark.task == "mmlu":
        return min(float(longest), MMLU.mean + MMLU_DESCRIPTION)
    if benchmark.task == "bbh":
        return min(float(longest), BBH.mean + benchmark.shots * BBH_SHOT)
    return unknown_row(longest) + template_tokens(template, 1.0)
