"""Which rows of a split are trained on, and in which order.

`fixed` takes one subset that depends on the rows alone and that every seed reorders, so that runs share the
reference log-probabilities of its rows; `per-seed` draws anew for every seed.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from workers.context import BadInput
from workers.data.dialogues import Pair
from workers.data.tokenization import TokenizedExample, TokenizedPair
from workers.identity import derive_seed
from workers.specs.data import PreferenceData
from workers.specs.training import Training

Item = TypeVar("Item")
LENGTH_GROUP = 50
"""Batches in a group that is sorted by length, as in transformers."""


def draw_pairs(pairs: Sequence[Pair], data: PreferenceData, seed: int) -> list[Pair]:
    """The training rows: `data.samples` of them (all when None); a balanced mixture takes half of each
    preference.
    """
    ranked = ranked_pairs(pairs, data, seed)
    groups = {name: [pair for pair in ranked if pair.preference == name] for name in _preferences(ranked)}
    if len(groups) == 2 and data.mixture_ratio == "balanced":
        half = min(len(group) for group in groups.values())
        half = half if data.samples is None else min(half, data.samples // 2)
        chosen = [pair for group in groups.values() for pair in group[:half]]
        return _in_order(chosen, ranked)
    return ranked[: data.samples]


def draw_rows(rows: Sequence[Item], samples: int | None, key: Callable[[Item], str]) -> list[Item]:
    """A fixed subset of `samples` rows, chosen and ordered by the hash of each row's key."""
    return sorted(rows, key=lambda row: _hash(key(row)))[:samples]


def training_order(
    lengths: Sequence[int],
    needed: int,
    batch: int,
    seed: int,
    by_length: bool,
    keys: Sequence[str] | None = None,
) -> list[int]:
    """Indices of the rows of `needed` training positions: epochs one after another, each shuffled anew.

    `by_length` brings rows of like length into one batch, within groups of `LENGTH_GROUP` batches. `keys` order
    an epoch by a hash of seed, epoch and key: rows of two sets with equal keys then come in one order.

    Raises:
        BadInput: both are asked for.
    """
    if keys is not None:
        if by_length:
            raise BadInput(
                "`sample_order: by-prompt` and `group_by_length: true` are two orders; take one of them"
            )
        return _keyed_order(keys, needed, derive_seed(seed, "order"))
    generator = torch.Generator().manual_seed(derive_seed(seed, "order"))
    order: list[int] = []
    while len(order) < needed:
        order.extend(_epoch(lengths, batch, generator, by_length))
    return order[:needed]


def _epoch(lengths: Sequence[int], batch: int, generator: torch.Generator, by_length: bool) -> list[int]:
    if not by_length:
        return torch.randperm(len(lengths), generator=generator).tolist()
    from transformers.trainer_pt_utils import get_length_grouped_indices

    factor = max(1, min(len(lengths) // (batch * 4), LENGTH_GROUP))
    indices: list[int] = get_length_grouped_indices(
        list(lengths), batch, mega_batch_mult=factor, generator=generator
    )
    return indices


def training_positions(
    training: Training,
    data: PreferenceData | None,
    rows: Sequence[TokenizedPair] | Sequence[TokenizedExample],
    seed: int,
) -> list[int]:
    """The index of the row at every position of a training, in the order that `data` asks for."""
    by_prompt = data is not None and data.sample_order == "by-prompt"
    return training_order(
        [row.length for row in rows],
        training.steps * training.batch_size,
        training.batch_size,
        seed,
        training.group_by_length,
        [row.key for row in rows] if by_prompt else None,
    )


def _keyed_order(keys: Sequence[str], needed: int, seed: int) -> list[int]:
    order: list[int] = []
    epochs = -(-needed // len(keys))
    for epoch in range(epochs):
        ranks = [_hash(f"{seed}/{epoch}/{key}") for key in keys]
        order.extend(sorted(range(len(keys)), key=ranks.__getitem__))
    return order[:needed]


def ranked_pairs(pairs: Sequence[Pair], data: PreferenceData, seed: int) -> list[Pair]:
    """All pairs in the order in which they are drawn."""
    if data.sampling == "fixed":
        return draw_rows(pairs, None, _text)
    generator = torch.Generator().manual_seed(derive_seed(seed, "sample"))
    return [pairs[place] for place in torch.randperm(len(pairs), generator=generator).tolist()]


def _preferences(pairs: Sequence[Pair]) -> list[str]:
    return sorted({pair.preference for pair in pairs})


def _in_order(chosen: Sequence[Pair], ranked: Sequence[Pair]) -> list[Pair]:
    wanted = {id(pair) for pair in chosen}
    return [pair for pair in ranked if id(pair) in wanted]


def _text(value: Any) -> str:
    return repr(value)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
