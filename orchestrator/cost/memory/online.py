"""The highest moment of RLOO and GRPO: completions drawn, measured, scored, or learnt from in TRL's trainers."""

from typing import TYPE_CHECKING

from orchestrator.cost.architecture import Architecture
from orchestrator.cost.memory.device import Device
from orchestrator.cost.memory.footprint import Footprint, highest
from orchestrator.cost.memory.heads import fused_head
from orchestrator.cost.memory.held import Held
from orchestrator.cost.memory.inference import generated, read
from orchestrator.cost.memory.layers import Rows
from orchestrator.cost.memory.reinforcement import compared_with_reference
from orchestrator.cost.memory.steps import STATE_BYTES, Step
from workers.recipe import Execution
from workers.specs.model import ModelRecipe

if TYPE_CHECKING:
    from workers.specs.online import OnlineRecipe

SCORED_TOGETHER = 32
"""Completions that the reward model reads at once (`workers.stages.online`)."""


def online_footprint(
    recipe: "OnlineRecipe", shape: Architecture, device: Device, execution: Execution, micro: int
) -> Footprint:
    """What lives together at the highest moment of a step; `micro` completions are drawn and learnt from at once.

    Policy and reference share a backbone; the reward model is beside it.
    """
    training, new = recipe.training, float(recipe.max_completion_length)
    policy = Held.of(shape, recipe.model, adapter=recipe.adapter, autocast=training.autocast)
    reward = Held.of(shape, ModelRecipe(dtype=recipe.model.dtype), autocast=training.autocast, head="score")
    rows = Rows(float(micro), recipe.prompt_tokens + new, padded=True)
    scored = Rows(float(min(SCORED_TOGETHER, recipe.generated_together)), rows.length, padded=True)
    state = Footprint(optimizer=STATE_BYTES[training.optimizer] * policy.moved)
    step = Step(
        policy,
        rows,
        device,
        execution.gradient_checkpointing,
        training.optimizer,
        training.batch_size // micro,
        fused_head(policy, rows.tokens, device),
        reward.weights,
    )
    prompts = Rows(rows.count, float(recipe.prompt_tokens), padded=True)
    return highest(
        state + generated(policy, prompts, device, new, reward.weights),
        state + compared_with_reference(policy, rows, new, device, reward.weights),
        state + read(reward, scored, device, 1.0, policy.weights),
        step.footprint,
    )
