"""The loss on rows that training leaves out, measured while it goes on; it changes no number of the training."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

from results.records import MetricRow
from workers.context import metric
from workers.data.tokenization import TokenizedExample, TokenizedPair
from workers.evaluation.answers import Answers
from workers.evaluation.batches import Tokens
from workers.evaluation.scoring import Scorer
from workers.evaluation.statistics import clustered_mean
from workers.specs.training import Training

VALIDATION_LOSS = "validation_loss"
BATCH_SIZE = 16
NOT_FINITE = 1e9
"""What stands for a loss that is no number: worse than any."""
Losses = Callable[[Any], list[float]]


@dataclass(frozen=True)
class Validation:
    """The mean loss in nats after `step` steps, its standard error, and over how many rows."""

    step: int
    loss: float
    stderr: float | None
    rows: int

    def as_record(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    def as_metric(self, task: str) -> MetricRow:
        """As a row of the store."""
        return metric(
            task,
            self.loss,
            metric=VALIDATION_LOSS,
            stderr=self.stderr,
            n=self.rows,
            step=self.step,
            unit="nats",
        )


class Validator:
    """Measures a model on rows when `training` says that it is due. `losses` gives one loss for each row."""

    def __init__(self, training: Training, losses: Losses) -> None:
        self._every, self._last, self._losses = training.validation_steps, training.steps, losses

    def due(self, step: int) -> bool:
        """Whether the loss is wanted after `step`."""
        return self._every is not None and (step % self._every == 0 or step == self._last)

    def measure(self, model: Any, step: int) -> Validation:
        """The loss now, without dropout; the model is in training mode again afterwards."""
        model.eval()
        try:
            losses = self._losses(model)
        finally:
            model.train()
        found = clustered_mean(losses, range(len(losses)))
        return Validation(step, NOT_FINITE if found.value is None else found.value, found.stderr, len(losses))


def answer_losses(examples: Sequence[TokenizedExample]) -> Losses:
    """SFT's loss of each row: the mean over its answer's tokens of their negative log-probability."""
    requests: list[tuple[Tokens, Tokens]] = [(one.prompt_ids, one.response_ids) for one in examples]

    def losses(model: Any) -> list[float]:
        scored = _scores(model, requests)
        return [-score / len(answer) for score, (_, answer) in zip(scored, requests, strict=True)]

    return losses


def preference_losses(pairs: Sequence[TokenizedPair], beta: float) -> Losses:
    """DPO's loss of each pair, `-log sigmoid(beta h)` (Rafailov et al., arXiv 2305.18290, equation 7).

    The reference is the model without its adapter; it is computed once.
    """
    requests: list[tuple[Tokens, Tokens]] = [
        (pair.prompt_ids, answer) for pair in pairs for answer in (pair.chosen_ids, pair.rejected_ids)
    ]
    reference: list[float] = []

    def losses(model: Any) -> list[float]:
        if not reference:
            with model.disable_adapter() if hasattr(model, "disable_adapter") else nullcontext():
                reference.extend(_scores(model, requests))
        moved = [now - before for now, before in zip(_scores(model, requests), reference, strict=True)]
        margins = [chosen - rejected for chosen, rejected in zip(moved[::2], moved[1::2], strict=True)]
        return [_softplus(-beta * margin) for margin in margins]

    return losses


def _scores(model: Any, requests: Sequence[tuple[Tokens, Tokens]]) -> list[float]:
    scored = Scorer(model, BATCH_SIZE).score(requests, Answers())
    return [one.log_probability for one in scored]


def _softplus(value: float) -> float:
    """`log(1 + exp(value))` without overflow."""
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))
