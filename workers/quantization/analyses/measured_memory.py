"""Bytes that weights, gradients and optimizer states really take: measured, unlike those of task `projected`."""

from collections.abc import Iterable

from torch import Tensor

from workers.context import metric
from workers.quantization.analyses.findings import Findings
from workers.quantization.analyses.optimizers import state_bytes, training_optimizer
from workers.quantization.analyses.subject import Subject
from workers.quantization.optimizer import quantized_weights
from workers.specs.analyze import AnalyzeRecipe

TASK = "measured_memory"


def measure(subject: Subject, recipe: AnalyzeRecipe) -> Findings:
    """After one training step: `weight_bytes` (primary) of the linear layers' weights and `state_bytes` of the
    optimizer's tensors for them, of the same weights as in task `projected`; and those of all parameters.
    """
    with subject.weights_kept():
        optimizer = training_optimizer(subject, subject.quantization)
        subject.differentiate(subject.batches[0])
        gradients = bytes_of(each.grad for each in subject.model.parameters() if each.grad is not None)
        optimizer.step()
        weights = [weight for weight, _ in quantized_weights(subject.model, subject.quantization)]
        found = {
            "weight_bytes": bytes_of(layer.weight for layer in subject.layers.values()),
            "state_bytes": sum(state_bytes(optimizer, weight) for weight in weights),
            "parameter_bytes": bytes_of(subject.model.parameters()),
            "gradient_bytes": gradients,
            "optimizer_bytes": sum(state_bytes(optimizer, each) for each in subject.model.parameters()),
        }
    return Findings(
        [
            metric(TASK, value, metric=name, unit="bytes", primary=name == "weight_bytes")
            for name, value in found.items()
        ]
    )


def bytes_of(tensors: Iterable[object]) -> int:
    """Bytes of tensors, of which one that occurs twice is counted once."""
    once = {id(values): values for values in tensors if isinstance(values, Tensor)}
    return sum(values.numel() * values.element_size() for values in once.values())
