"""The model that is analysed, with its quantizers, its linear layers and the mini-batches that it is given."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from workers.context import StageContext
from workers.quantization.layers import linear_layers, transposed
from workers.quantization.rounding import Dice
from workers.specs.pretrain import PretrainRecipe
from workers.specs.quantized import QuantizedTraining

IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """Sequences that predict each next token; shapes (rows, length).

    Every position of `inputs` that is no padding has a label: a last one without a label would add rows of zeros
    to the output gradients. `kept` marks those positions; None stands for all.
    """

    number: int
    inputs: Tensor
    labels: Tensor
    kept: Tensor | None = None

    def tokens(self, values: Tensor) -> Tensor:
        """Of values (rows, length, features) those of tokens, (tokens, features)."""
        return values.flatten(0, -2) if self.kept is None else values[self.kept]


@dataclass
class Subject:
    """A model whose linear layers compute as `quantization` says; its weights are of this analysis alone.

    `training` is the recipe that it was trained by, `context` that of the analysis.
    """

    model: Any
    training: PretrainRecipe
    quantization: QuantizedTraining
    batches: list[Batch]
    dice: Dice
    context: StageContext

    @cached_property
    def layers(self) -> dict[str, nn.Module]:
        """The linear layers by name, with the output head where the quantization includes it."""
        return linear_layers(self.model, head=self.quantization.head)

    def loss(self, batch: Batch) -> Tensor:
        """The mean negative log-probability of a mini-batch's labels, in nats.

        Stochastic rounding draws the same for every pass of one mini-batch.
        """
        self.dice.start(batch.number)
        logits = self.model(
            input_ids=batch.inputs,
            attention_mask=None if batch.kept is None else batch.kept.long(),
            use_cache=False,
        ).logits
        return cross_entropy(
            logits.float().flatten(0, 1), batch.labels.flatten().long(), ignore_index=IGNORED
        )

    def differentiate(self, batch: Batch) -> float:
        """Leave the gradient of a mini-batch's loss in the parameters; the loss."""
        self.model.zero_grad(set_to_none=True)
        found = self.loss(batch)
        torch.autograd.backward(found)
        return float(found.detach())

    @contextmanager
    def weights_kept(self) -> Iterator[None]:
        """Within the body weights may change; afterwards they have their bits again, and no gradients."""
        before = [(parameter, parameter.detach().clone()) for parameter in self.model.parameters()]
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, values in before:
                    parameter.copy_(values)
            self.model.zero_grad(set_to_none=True)


def weight_of(layer: Any) -> Tensor:
    """The weight of a linear layer as (out, in)."""
    weight: Tensor = layer.weight
    return weight.t() if transposed(layer) else weight
