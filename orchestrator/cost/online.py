"""Seconds of RLOO and GRPO, and of FActScore."""

from math import ceil
from typing import Any

from orchestrator.cost.accelerators import Accelerator
from orchestrator.cost.inference import (
    ANSWER,
    INSTRUCTION,
    REQUEST_SECONDS,
    WORLD_ANSWER,
    Asked,
    asked_seconds,
    prompt_set_items,
)
from orchestrator.cost.passes import Model, forward, gradient, optimizer
from workers.recipe import Execution

PASSES = 5
"""Passes over a generation: TRL's own of policy and reference, ours of both, and the reward model's."""
STEP_SECONDS = 0.05
"""What an optimizer step costs beside its passes."""
SENTENCE_TOKENS = 25.0
FACT_TOKENS = 12.0
"""Tokens of an answer for each of its sentences and of its atomic facts (Min et al., arXiv 2305.14251, table 1)."""
PASSAGE_TOKENS = 256.0
"""The tokens of one passage of a knowledge source."""


def online_seconds(recipe: Any, model: Model, accelerator: Accelerator, execution: Execution) -> float:
    """All steps of an online recipe; prompts are taken to be half as long as allowed."""
    training, together = recipe.training, float(recipe.generated_together)
    world = recipe.preferences is not None and recipe.preferences.source.world is not None
    prompt = recipe.prompt_tokens / 2
    answer = min(float(recipe.max_completion_length), WORLD_ANSWER if world else float("inf"))
    batch = int(training.batch_size)
    rows = min(execution.micro_batch or batch, batch)
    drawn = asked_seconds(Asked(together, prompt, new_tokens=answer), model, accelerator, rows)
    once = accelerator.seconds(forward(model, rows, prompt + answer, answer))
    generated = drawn + PASSES * ceil(together / rows) * once
    steps = float(training.steps)
    generations = ceil(steps * batch / (together * int(recipe.num_iterations)))
    passed = accelerator.seconds(gradient(model, rows, prompt + answer, execution.gradient_checkpointing))
    update = ceil(batch / rows) * passed + accelerator.seconds(optimizer(model))
    return generations * generated + steps * (update + STEP_SECONDS)


def factuality_seconds(
    recipe: Any, answers: Any, model: Model, accelerator: Accelerator, concurrency: int
) -> float:
    """Listing and judging the facts of all answers of the `generate` recipe `answers`; rules cost nothing.

    A local judge is taken to be as large as a local lister.
    """
    sentences, facts = fact_counts(recipe, answers)
    listed, judged, batch = recipe.extractor, recipe.judge, int(recipe.batch_size)
    seconds = 0.0
    if listed.endpoint is not None:
        seconds += sentences * REQUEST_SECONDS / concurrency
    if listed.causal is not None:
        asked = Asked(sentences, INSTRUCTION + SENTENCE_TOKENS, new_tokens=3 * SENTENCE_TOKENS)
        seconds += asked_seconds(asked, model, accelerator, batch)
    if judged.endpoint is not None:
        seconds += facts * REQUEST_SECONDS / concurrency
    if judged.causal is not None or judged.classifier is not None:
        asked = Asked(facts, fact_prompt_tokens(recipe))
        seconds += asked_seconds(asked, model, accelerator, batch)
    return seconds


def fact_counts(recipe: Any, answers: Any) -> tuple[float, float]:
    """How many sentences and facts the answers of a `generate` recipe have, at their full length up to 300 tokens."""
    prompts = next((one for one in getattr(answers, "prompts", ()) if one.name == recipe.task), None)
    tokens = prompt_set_items(prompts) * min(float(getattr(prompts, "new_tokens", ANSWER)), ANSWER)
    return tokens / SENTENCE_TOKENS, tokens / FACT_TOKENS


def fact_prompt_tokens(recipe: Any) -> float:
    """What a judge reads for each fact."""
    knowledge = float(recipe.knowledge.passages) * PASSAGE_TOKENS
    return min(float(recipe.max_length), INSTRUCTION + knowledge + FACT_TOKENS)
