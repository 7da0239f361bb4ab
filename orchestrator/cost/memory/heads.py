"""Bytes of the way from the last layer to the loss: tensors as wide as the vocabulary."""

from orchestrator.cost.memory.device import Device
from orchestrator.cost.memory.held import FLOAT32, Held

TILE_TOKENS = 4096
TILE_WORDS = 32_768
"""The tile of logits that TRL's fused head makes at once: so many positions, so many words, whatever the vocabulary."""
LOGIT_BYTES = 12.0
"""A logit in transformers' loss, at its highest: log-probability and two gradients, all in float32."""


def fused_head(held: Held, tokens: float, device: Device, width: int | None = None) -> float:
    """TRL's fused head (SFT, DPO, pre-training in chunks): a tile of logits, the states that it reads, and their
    gradient in float32. `width` are the words of a tile, by default TRL's own.
    """
    shape, width = held.shape, TILE_WORDS if width is None else width
    positions = min(tokens, TILE_TOKENS)
    words = min(width, shape.vocabulary)
    buffer = positions * (held.computed * width + device.fold_bytes * words)
    states = tokens * shape.hidden * (held.weight_bytes + FLOAT32)
    cast = held.computed * words * shape.hidden if held.casts_weights else 0.0
    return buffer + states + cast


def scoring_head(held: Held, tokens: float, device: Device) -> float:
    """The same without gradients: the states before and after the last position of each row is left out."""
    words = min(TILE_WORDS, held.shape.vocabulary)
    buffer = min(tokens, TILE_TOKENS) * (held.computed * TILE_WORDS + device.scored_bytes * words)
    return buffer + 2 * tokens * held.shape.hidden * held.weight_bytes


def whole_logits(held: Held, tokens: float) -> float:
    """Transformers' loss on all logits at once (pre-training)."""
    cast = held.computed * held.shape.head_weights if held.casts_weights else 0.0
    return LOGIT_BYTES * tokens * held.shape.vocabulary + cast


def final_norm(held: Held, tokens: float) -> float:
    """What the last norm keeps, as a layer's does, and its output."""
    own = held.weight_bytes if held.trained and held.shape.gated else 0.0
    return tokens * held.shape.hidden * (FLOAT32 + own + held.weight_bytes)
