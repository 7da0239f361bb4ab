"""The highest moment of PPO: responses drawn, measured under four models, or learnt from (LoRA PPO study)."""

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.cost.architecture import Architecture
from orchestrator.cost.memory.device import Device
from orchestrator.cost.memory.footprint import Footprint, highest
from orchestrator.cost.memory.held import FLOAT32, Held
from orchestrator.cost.memory.inference import generated
from orchestrator.cost.memory.layers import Rows, forward_workspace
from orchestrator.cost.memory.steps import Step
from workers.specs.model import ModelRecipe

if TYPE_CHECKING:
    from workers.specs.ppo import PpoRecipe

MEASURED_BYTES = {False: 20.0, True: 28.0}
"""A logit of a response while policy and reference are compared, in float32: both log-probabilities and the parts of
the true KL; True: where the Jensen-Shannon divergence is measured too."""
STATES = 3
"""Copies of what moves of a model, beside itself: its gradient and two moments."""
UPDATE_BYTES = 12.0
"""A logit of a response in the update: its log-probability, and two gradients on the way back."""
FULL_BYTES = {"kl_full": 28.0, "js_full": 44.0}
"""The same where a divergence over the whole vocabulary is in the loss."""


def ppo_footprint(
    recipe: "PpoRecipe", shape: Architecture, device: Device, micro_batch: int | None, checkpointing: bool
) -> Footprint:
    """What lives together at the highest moment of a PPO step."""
    policy, value = models(recipe, shape)
    rollout = recipe.rollout
    others = _beside(recipe, shape, value)
    together = float(min(micro_batch or rollout.batch_size, rollout.batch_size))
    learnt = float(min(together, recipe.training.update_size))
    moving = Footprint(optimizer=2 * _moved(policy))
    drawn = generated(policy, Rows(together, rollout.prompt_tokens, True), device, rollout.new_tokens, others)
    return highest(
        moving + drawn,
        moving
        + compared_with_reference(
            policy,
            Rows(together, rollout.prompt_tokens + rollout.new_tokens),
            rollout.new_tokens,
            device,
            others,
            both_ways=recipe.regularizer.penalty == "js_full",
        ),
        _update(recipe, policy, value, learnt, device, others, checkpointing),
    )


def models(recipe: "PpoRecipe", shape: Architecture) -> tuple[Held, Held]:
    """Policy and value, each with its adapter."""
    training = recipe.training
    return (
        Held.of(
            shape,
            recipe.model,
            adapter=recipe.adapter,
            autocast=training.autocast,
            adapter_dtype=training.adapter_dtype,
        ),
        Held.of(
            shape,
            recipe.model,
            adapter=recipe.value_adapter or recipe.adapter,
            autocast=training.autocast,
            adapter_dtype=training.adapter_dtype,
            head="score",
        ),
    )


def _moved(held: Held) -> float:
    return held.moved * held.moved_bytes


def _beside(recipe: "PpoRecipe", shape: Architecture, value: Held) -> float:
    """Value and reward on one backbone with what moves of it, and the reference where it has a backbone of its own."""
    return value.weights + STATES * _moved(value) + _reference(recipe, shape)


def _reference(recipe: "PpoRecipe", shape: Architecture) -> float:
    dtype = recipe.reference_dtype
    return 0.0 if dtype is None else Held.of(shape, ModelRecipe(dtype=dtype)).weights


def compared_with_reference(
    policy: Held, rows: Rows, responses: float, device: Device, others: float, *, both_ways: bool = False
) -> Footprint:
    """Episodes under policy and reference, without gradients; the policy's distribution waits for the reference's.

    `responses` tokens of each row get logits; `both_ways`: the Jensen-Shannon divergence is measured too.
    """
    cells = rows.count * responses * policy.shape.vocabulary
    resting = Footprint(weights=policy.weights, others=others)
    waiting = Footprint(logits=FLOAT32 * cells, workspace=forward_workspace(policy, rows, device))
    return highest(resting + Footprint(logits=MEASURED_BYTES[both_ways] * cells), resting + waiting)


def _update(
    recipe: "PpoRecipe",
    policy: Held,
    value: Held,
    rows: float,
    device: Device,
    others: float,
    checkpointing: bool,
) -> Footprint:
    """A part of an optimizer step: the policy's passes with the vocabulary's logits, then the value's without."""
    rollout, regularizer = recipe.rollout, recipe.regularizer
    in_loss = regularizer.placement == "loss"
    each = FULL_BYTES.get(regularizer.penalty, UPDATE_BYTES) if in_loss else UPDATE_BYTES
    counted = recipe.estimation.padding == "counted"
    cells = rows * rollout.new_tokens * policy.shape.vocabulary
    sequences = Rows(rows, rollout.prompt_tokens + rollout.new_tokens)
    step = Step(policy, sequences, device, checkpointing, logits=each * cells, others=others, batches=2)
    kept = FLOAT32 * cells  # the distribution that was learnt from lives on while the value's turn comes
    beside = policy.weights + STATES * _moved(policy) + kept + others - value.weights - STATES * _moved(value)
    valued = replace(step, held=value, rows=replace(sequences, padded=counted), logits=0.0, others=beside)
    return highest(step.footprint, valued.footprint)
