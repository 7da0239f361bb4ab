"""The rule that calls a training diverged: a result that is stored, not an error (design, section 7)."""

import math
from collections.abc import Sequence

PATIENCE = 10
"""Steps in a row that must exceed the limit."""


def divergence(losses: Sequence[float], factor: float) -> str | None:
    """Why a training with these losses (one a step, from the first) has diverged, or None.

    The rule: the last loss is not finite, or the last `PATIENCE` losses all exceed `factor` times the first
    one. It reads only the losses, so an interrupted and resumed training judges alike.
    """
    if not losses:
        return None
    step = len(losses)
    if not math.isfinite(losses[-1]):
        return f"diverged at step {step}: the loss is {losses[-1]}"
    limit = factor * abs(losses[0])
    if step > PATIENCE and all(loss > limit for loss in losses[-PATIENCE:]):
        return f"diverged at step {step}: {PATIENCE} losses in a row above {factor:g} times the first one"
    return None
