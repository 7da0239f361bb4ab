"""A model small enough for a closed form: logits of the next word are a linear layer of the last word's vector."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.workers.quantization import reference
from workers.quantization.analyses.subject import Batch, Subject
from workers.quantization.layers import put_quantizers
from workers.quantization.rounding import Dice
from workers.specs.pretrain import PretrainRecipe
from workers.specs.quantized import QuantizedTraining

WORDS, WIDTH = 11, 6
NOTHING: Any = None


class Bigram(nn.Module):
    """`hidden` linear layers without bias, each followed by nothing, between an embedding and the head."""

    def __init__(self, hidden: int = 0, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.hidden = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(hidden))
        self.head = nn.Linear(WIDTH, WORDS, bias=False)

    def forward(self, input_ids: torch.Tensor, **others: Any) -> SimpleNamespace:
        values = self.embedding(input_ids)
        for layer in self.hidden:
            values = layer(values)
        return SimpleNamespace(logits=self.head(values))


def batch_of(number: int = 0, rows: int = 3, length: int = 5, kept: torch.Tensor | None = None) -> Batch:
    generator = torch.Generator().manual_seed(number)
    ids = torch.randint(WORDS, (rows, length + 1), generator=generator)
    labels = ids[:, 1:].clone()
    if kept is not None:
        labels[~kept] = -100
    return Batch(number, ids[:, :-1], labels, kept)


def subject_of(
    quantization: QuantizedTraining | None = None, batches: tuple[Batch, ...] = (), **others: Any
) -> Subject:
    model = Bigram(**others)
    recipe = quantization or QuantizedTraining()
    dice = Dice(0)
    put_quantizers(model, recipe, dice)
    return Subject(
        model, PretrainRecipe(), recipe, list(batches or (batch_of(0), batch_of(1))), dice, NOTHING
    )


def arrays(subject: Subject) -> tuple[Any, Any]:
    """Embedding (words, width) and head (words, width)."""
    model = subject.model
    return tuple(each.weight.detach().numpy().astype(np.float64) for each in (model.embedding, model.head))


def passes(embedding: Any, head: Any, batch: Batch, recipe: QuantizedTraining) -> dict[str, Any]:
    """Loss, X, Y, G and the gradients of embedding and head of a model without hidden layers, in NumPy."""
    ids, labels = batch.inputs.numpy().ravel(), batch.labels.numpy().ravel()
    x = embedding[ids]
    zero = np.zeros(len(head))
    y = reference.linear(x, head, zero, np.zeros((len(ids), len(head))), recipe)["y"]
    shares = np.exp(y - y.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    places = np.arange(len(ids))
    loss = -np.log(shares[places, labels]).mean()
    g = shares.copy()
    g[places, labels] -= 1
    g /= len(ids)
    back = reference.linear(x, head, zero, g, recipe)
    of_embedding = np.zeros_like(embedding)
    np.add.at(of_embedding, ids, back["dx"])
    return {"loss": loss, "x": x, "y": y, "g": g, "dhead": back["dw"], "dembedding": of_embedding}
