"""The rule that calls a training diverged: a result that is stored, not an error (design, section 7)."""

import math
from collections import deque
from collections.abc import Sequence

from workers.specs.pretrain import DivergenceRule

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


class LossWatch:
    """Judges a pre-training by its `DivergenceRule` (quantization study, section 7.4).

    It reads the training's log alone, from its beginning, so a resumed training judges alike. `last_good` is the
    last smoothed loss that was within the excess.
    """

    def __init__(self, rule: DivergenceRule, steps: int) -> None:
        self._rule, self._steps = rule, steps
        self._patience = max(1, round(rule.patience * steps))
        self._recent: deque[float] = deque(maxlen=rule.window)
        self._least = math.inf
        self._seen = self._above = 0
        self._validation: str | None = None
        self.last_good: float | None = None

    def reason(self, history: Sequence[dict[str, float]]) -> str | None:
        """Why the training whose log this is has diverged, or None."""
        found = None
        for entry in history[self._seen :]:
            found = self._see(entry["loss"], self._seen + 1)
            self._seen += 1
        return found or self._validation

    def validated(self, step: int, loss: float) -> None:
        """Take note of a validation loss; `reason` speaks of it."""
        rule = self._rule
        if step > rule.validation_after * self._steps and loss > rule.validation_limit:
            self._validation = (
                f"diverged at step {step}: validation loss {loss:.3g} above {rule.validation_limit:g}"
            )

    def _see(self, loss: float, step: int) -> str | None:
        if not math.isfinite(loss):
            return f"diverged at step {step}: the loss is {loss}{self._good()}"
        self._recent.append(loss)
        smoothed = math.fsum(self._recent) / len(self._recent)
        self._least = min(self._least, smoothed)
        if smoothed <= self._least + self._rule.excess:
            self._above, self.last_good = 0, smoothed
            return None
        self._above += 1
        if self._above < self._patience:
            return None
        return (
            f"diverged at step {step}: the smoothed loss {smoothed:.3f} has been more than {self._rule.excess:g} nats "
            f"above its least, {self._least:.3f}, for {self._above} steps{self._good()}"
        )

    def _good(self) -> str:
        return "" if self.last_good is None else f"; last good loss {self.last_good:.3f}"
