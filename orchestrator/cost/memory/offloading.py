"""What DeepSpeed keeps in the host's memory for all processes of a training together, read off its source (0.19).

Of each weight that moves: its float32 copy and that copy's gradient, the optimizer's states, and the optimizer's two
temporaries while it steps on the CPU. Stage 2 adds a buffer in which the moved weights go back, and where a batch comes
in several micro-batches their summed gradients; stage 3 has a buffer of gradients in any case. Not measured on a GPU.
"""

from typing import Any

from orchestrator.cost.architecture import Architecture
from orchestrator.cost.memory.held import FLOAT32, Held
from orchestrator.cost.memory.stages import largest_part, trained_model
from orchestrator.cost.memory.steps import STATE_BYTES, TOGETHER
from workers.recipe import Execution


def host_bytes(kind: str, recipe: Any, architecture: Architecture, execution: Execution) -> float:
    """Bytes of host memory that a training's `offload` takes beside what its processes need anyway; 0 without one."""
    if execution.offload == "none":
        return 0.0
    held, training = trained_model(kind, recipe, architecture), recipe.training
    share = training.batch_size // execution.processes
    adds_up = largest_part(share, execution.micro_batch) < share
    each = 2 * FLOAT32 + STATE_BYTES[training.optimizer] + _buffers(held, execution, adds_up)
    if training.optimizer in TOGETHER:
        each += 2 * FLOAT32
    resting = held.weights if execution.offload == "weights" else 0.0
    return held.moved * each + resting


def _buffers(held: Held, execution: Execution, adds_up: bool) -> float:
    """Bytes for each moved weight on its way between the host and a card."""
    twice = execution.strategy == "deepspeed-zero2" and adds_up
    return held.moved_bytes * (2 if twice else 1)
