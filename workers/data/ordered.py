"""Rows in training order without a list of all training positions: epochs are shuffled when they are reached."""

from collections.abc import Sequence
from typing import Any

import torch

from workers.identity import derive_seed


class OrderedRows(Sequence[dict[str, torch.Tensor]]):
    """`needed` training positions over equal blocks: epochs one after another, each shuffled from a seed of its own.

    Row k depends on the blocks, the seed and k alone, so training can go on anywhere.
    """

    def __init__(self, blocks: Sequence[torch.Tensor], needed: int, seed: int) -> None:
        self._blocks, self._needed, self._seed = blocks, needed, seed
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)
        self._tokens = len(blocks[0])

    def __len__(self) -> int:
        return self._needed

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            return [self[number] for number in range(*position.indices(self._needed))]
        if not 0 <= position < self._needed:
            raise IndexError(position)
        epoch, place = divmod(position, len(self._blocks))
        if epoch != self._epoch:
            self._shuffle(epoch)
        return {"input_ids": self._blocks[int(self._order[place])]}

    def tokens_in_first(self, rows: int) -> int:
        """Tokens in so many first positions."""
        return rows * self._tokens

    def _shuffle(self, epoch: int) -> None:
        generator = torch.Generator().manual_seed(derive_seed(self._seed, f"order/{epoch}"))
        self._epoch, self._order = epoch, torch.randperm(len(self._blocks), generator=generator)
