"""Seconds of a training step, measured on the machine at hand, with and without the simulation."""

import time
from collections.abc import Callable
from statistics import median

import torch

from workers.context import metric
from workers.quantization.analyses.findings import Findings
from workers.quantization.analyses.optimizers import training_optimizer
from workers.quantization.analyses.subject import Subject
from workers.quantization.layers import without_quantizers
from workers.specs.analyze import AnalyzeRecipe

TASK = "measured_time"


def measure(subject: Subject, recipe: AnalyzeRecipe) -> Findings:
    """Medians over `repeats` steps of a mini-batch: of the arm, and of the same model without quantizers and rounded
    moments, alternated with it; `ratio` is the median of their ratios.

    A step is forward, backward, clipping and update. The figures are those of this machine and hour, so they alone
    differ from run to run.
    """
    with subject.weights_kept():
        quantized = _step(subject, training_optimizer(subject, subject.quantization))
        bare = _step(subject, training_optimizer(subject, None))

        def plain() -> float:
            with without_quantizers(subject.model):
                return bare()

        pairs = alternated(quantized, plain, recipe.repeats)
    own, others = (median(column) for column in zip(*pairs, strict=True))
    ratio = median(one / other for one, other in pairs)
    return Findings(
        [
            metric(TASK, own, metric="step_seconds", n=len(pairs), unit="seconds", primary=True),
            metric(TASK, others, metric="unquantized_step_seconds", n=len(pairs), unit="seconds"),
            metric(TASK, ratio, metric="ratio", n=len(pairs)),
        ]
    )


def alternated(
    first: Callable[[], float], second: Callable[[], float], times: int
) -> list[tuple[float, float]]:
    """The seconds of both, one after the other, after one of each that is not counted."""
    first(), second()
    return [(first(), second()) for _ in range(times)]


def _step(subject: Subject, optimizer: torch.optim.Optimizer) -> Callable[[], float]:
    batch, limit = subject.batches[0], subject.training.training.max_gradient_norm

    def seconds() -> float:
        start = _now(subject)
        subject.differentiate(batch)
        torch.nn.utils.clip_grad_norm_(subject.model.parameters(), limit)
        optimizer.step()
        return _now(subject) - start

    return seconds


def _now(subject: Subject) -> float:
    """The time when all that was asked of the device is done."""
    if subject.model.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
