"""The keys and values of a prefix, read once and shown to every row of every batch that goes on from it."""

from functools import cached_property
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from workers.evaluation.batches import Tokens
from workers.evaluation.forward import base_model, last_logits, takes


class _ReadOnly:
    """A layer of the cache that shows its one row to any number of rows and keeps nothing of theirs.

    So one cache serves every batch, and memory holds the prefix once, whatever the batch's size.
    """

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, layer: Any) -> None:
        self.__dict__.update(vars(layer))

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *others: Any, **settings: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The prefix's states before each row's own; all (rows, heads, tokens, width)."""
        return _joined(self.keys, key_states), _joined(self.values, value_states)


class _Layer(_ReadOnly, DynamicLayer):  # type: ignore[misc]
    """Full attention."""


class _WindowLayer(_ReadOnly, DynamicSlidingWindowLayer):  # type: ignore[misc]
    """Sliding-window attention: the prefix's last window is kept, and its length counts on."""


READ_ONLY = {DynamicLayer: _Layer, DynamicSlidingWindowLayer: _WindowLayer}


def _joined(shared: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    return torch.cat([shared.expand(len(own), -1, -1, -1), own], dim=-2)


class SharedPrefix:
    """A prefix on `model`; its keys and values are computed when they are first needed."""

    def __init__(self, model: Any, tokens: Tokens) -> None:
        self._model = model
        self._tokens = tokens

    @property
    def length(self) -> int:
        """How many tokens it has."""
        return len(self._tokens)

    @cached_property
    def cache(self) -> DynamicCache:
        """What a forward pass takes as `past_key_values`; never changed by it."""
        ids = torch.tensor([list(self._tokens)], device=self._model.device)
        _, cache = last_logits(self._model, input_ids=ids)
        cache.layers = [READ_ONLY[type(layer)](layer) for layer in cache.layers]
        return cache


def shares_prefixes(model: Any) -> bool:
    """Whether every layer of the architecture keeps plain keys and values, full or in a sliding window."""
    if not takes(model, "past_key_values"):
        return False
    layers = DynamicCache(config=base_model(model).config).layers
    return all(type(layer) in READ_ONLY for layer in layers)
