"""Seconds of PPO: sampling, measuring, some passes of two models over every episode (LoRA PPO study, section 13)."""

from math import ceil
from typing import TYPE_CHECKING

from orchestrator.cost.accelerators import Accelerator
from orchestrator.cost.inference import WORLD_ANSWER, Asked, asked_seconds
from orchestrator.cost.passes import Model, forward, gradient, optimizer
from workers.recipe import Execution

if TYPE_CHECKING:
    from workers.specs.ppo import PpoRecipe

MODELS = 2
"""Policy and value, each with an adapter of its own, on backbones of one size."""
MEASURED = 4
"""Passes over a rollout: policy, reference, value and reward."""
STEP_SECONDS = 0.02
"""What a PPO step costs beside its passes."""


def ppo_seconds(recipe: "PpoRecipe", model: Model, accelerator: Accelerator, execution: Execution) -> float:
    """The time of all PPO steps; prompts are taken to be half as long as allowed."""
    rollout, training = recipe.rollout, recipe.training
    world = recipe.preferences is not None and recipe.preferences.source.world is not None
    prompt = rollout.prompt_tokens / 2
    answer = min(float(rollout.new_tokens), WORLD_ANSWER) if world else float(rollout.new_tokens)
    rows = min(execution.micro_batch or rollout.batch_size, rollout.batch_size)
    sampled = asked_seconds(Asked(rollout.batch_size, prompt, new_tokens=answer), model, accelerator, rows)
    once = accelerator.seconds(forward(model, rows, prompt + answer, answer))
    measured = MEASURED * ceil(rollout.batch_size / rows) * once
    return training.steps * (
        sampled + measured + _update(recipe, model, accelerator, execution) + STEP_SECONDS
    )


def _update(recipe: "PpoRecipe", model: Model, accelerator: Accelerator, execution: Execution) -> float:
    """The inner loop of one step; a repeated batch is passed as often as it is repeated."""
    rollout, training = recipe.rollout, recipe.training
    repeats = training.repeats if training.accumulation == "repeat" else 1
    rows = min(execution.micro_batch or training.update_size, training.update_size)
    length = rollout.prompt_tokens / 2 + rollout.new_tokens
    passed = accelerator.seconds(gradient(model, rows, length, execution.gradient_checkpointing))
    parts = ceil(training.update_size / rows)
    steps = training.epochs * rollout.batch_size // training.update_size
    seconds = steps * (repeats * parts * MODELS * passed + accelerator.seconds(optimizer(model)))
    if training.dropout == "matched" and recipe.adapter.dropout > 0:
        again = accelerator.seconds(forward(model, rows, length, float(rollout.new_tokens)))
        seconds += MODELS * again * parts * rollout.batch_size / training.update_size
    return seconds
