"""Ragged rows of token ids as rectangles."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch

Item = TypeVar("Item")
Tokens = Sequence[int]


def longest_first(rows: Sequence[Tokens]) -> list[int]:
    """Places of the rows, longest first, equal lengths by content: an order that no run can change.

    Out-of-memory errors come at once, and rows of a batch need little padding.
    """
    return sorted(range(len(rows)), key=lambda place: (-len(rows[place]), tuple(rows[place])))


def batched(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Consecutive slices of at most `size` items."""
    return (items[start : start + size] for start in range(0, len(items), size))


def right_padded(rows: Sequence[Tokens], filler: int = 0) -> torch.Tensor:
    """Ids (rows, longest). A causal model's figures at real tokens do not see what stands behind them."""
    length = max(map(len, rows))
    return torch.tensor([[*row, *[filler] * (length - len(row))] for row in rows])


def left_padded(rows: Sequence[Tokens], filler: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and a mask of real tokens, both (rows, longest), every row ending in the last column."""
    length = max(map(len, rows))
    ids = torch.tensor([[*[filler] * (length - len(row)), *row] for row in rows])
    mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
    return ids, mask
