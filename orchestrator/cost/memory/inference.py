"""The highest moment of passes without gradients: scoring, and generation with a key-value cache."""

from orchestrator.cost.memory.device import Device
from orchestrator.cost.memory.footprint import Footprint, highest
from orchestrator.cost.memory.heads import scoring_head
from orchestrator.cost.memory.held import FLOAT32, Held
from orchestrator.cost.memory.layers import Rows, forward_workspace

DRAWN_BYTES = 3 * 8.0
"""A logit of the last position while a token is drawn from exact sums: probability, whole number and sum."""


def read(held: Held, rows: Rows, device: Device, scored: float, others: float = 0.0) -> Footprint:
    """A pass over a batch, of which `scored` positions of each row get logits."""
    shape = held.shape
    logits = (
        scored * rows.count * shape.vocabulary * (held.computed + FLOAT32) if held.head == "language" else 0.0
    )
    resting = Footprint(weights=held.weights, others=others)
    inside = resting + Footprint(workspace=forward_workspace(held, rows, device))
    states = held.weight_bytes * shape.hidden * rows.tokens
    return highest(inside, resting + Footprint(logits=logits, workspace=states))


def compared(held: Held, rows: Rows, device: Device) -> Footprint:
    """A pass through TRL's fused head over all positions: reference log-probabilities."""
    resting = Footprint(weights=held.weights)
    inside = resting + Footprint(workspace=forward_workspace(held, rows, device))
    return highest(inside, resting + Footprint(logits=scoring_head(held, rows.tokens, device)))


def cache_bytes(held: Held, tokens: float) -> float:
    """Keys and values of `tokens` tokens in all layers."""
    shape = held.shape
    return 2.0 * held.computed * shape.key_value_heads * shape.head_size * shape.layers * tokens


def generated(held: Held, rows: Rows, device: Device, new_tokens: float, others: float = 0.0) -> Footprint:
    """Prompts read, then `new_tokens` tokens added to each; a layer's cache is copied when it grows by a token."""
    shape = held.shape
    resting = Footprint(weights=held.weights, others=others)
    after = cache_bytes(held, rows.count * (rows.length + new_tokens))
    logits = rows.count * shape.vocabulary * (held.computed + 2 * FLOAT32 + DRAWN_BYTES)
    prompts = Footprint(cache=cache_bytes(held, rows.tokens), workspace=forward_workspace(held, rows, device))
    one = forward_workspace(held, Rows(rows.count, 1.0), device, rows.length + new_tokens)
    last = Footprint(cache=after, logits=logits, workspace=one + after / shape.layers)
    return highest(resting + prompts, resting + last)
