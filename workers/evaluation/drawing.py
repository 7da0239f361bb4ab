"""Drawing tokens by numbers that only the seed and the item decide."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from workers.identity import derive_seed


class Drawing:
    """Chooses tokens by inverting the cumulative distribution at uniform numbers.

    Each item has a stream of its own, so a completion does not depend on its batch, on other items, or on where
    an earlier attempt stopped. Nucleus sampling after Holtzman et al., arXiv 1904.09751, section 3.1: kept are the
    most probable tokens up to the first with which their probability reaches `top_p`.
    """

    def __init__(
        self, temperature: float, top_p: float, new_tokens: int, seed: int, items: Sequence[str]
    ) -> None:
        self.temperature = temperature
        self.top_p = top_p
        self._new_tokens = new_tokens
        self._seeds = [derive_seed(seed, f"generation/{item}") for item in items]
        self._uniform = lru_cache(maxsize=4096)(self._stream)

    def __call__(self, logits: torch.Tensor, number: int, places: Sequence[int]) -> torch.Tensor:
        """One token for each row of logits (rows, vocabulary)."""
        uniform = torch.tensor([self._uniform(place)[number] for place in places], dtype=torch.float64)
        scaled = logits.double() / self.temperature
        probability, order = scaled.softmax(-1).sort(dim=-1, descending=True, stable=True)
        reached = probability.cumsum(-1)
        kept = torch.where(reached - probability < self.top_p, probability, 0.0).cumsum(-1)
        target = uniform.to(logits.device)[:, None] * kept[:, -1:]
        place = torch.searchsorted(kept, target, right=True).clamp(max=kept.shape[-1] - 1)
        tokens: torch.Tensor = order.gather(-1, place)[:, 0]
        return tokens

    def _stream(self, place: int) -> "np.ndarray[Any, Any]":
        return np.random.Generator(np.random.PCG64(self._seeds[place])).random(self._new_tokens)
