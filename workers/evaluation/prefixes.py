"""Which requests share a beginning that is worth reading once: found on token ids, from the requests alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from workers.evaluation.batches import Tokens

SHORTEST = 32
"""Tokens that a shared beginning has at least."""
FEWEST = 4
"""Rows that share it at least."""
SHARE = 1 / 3
"""The least share of the rows' tokens that is saved."""
SAVED = 512
"""The least number of tokens that are saved: what another forward pass costs on a GPU with a large model."""


@dataclass(frozen=True)
class Group:
    """Rows, by place, whose first `length` tokens are equal."""

    places: tuple[int, ...]
    length: int


@dataclass
class _Node:
    """Rows from `start` on, in sorted order, that agree in `depth` tokens, and the best groups among them."""

    depth: int
    start: int
    saved: int = 0
    groups: list[tuple[int, int, int]] = field(default_factory=list)

    def adopt(self, other: "_Node") -> None:
        """Take over what rows that agree further have found."""
        self.saved += other.saved
        self.groups += other.groups


def shared_prefixes(heads: Sequence[Tokens], sizes: Sequence[int]) -> list[Group]:
    """Disjoint groups of rows that save the most tokens, each within the bounds above.

    `heads` are the tokens of a row that may be shared, `sizes` how many tokens the row has in all. Invariant:
    the answer follows from these alone, whatever the order of the rows; places within a group ascend.
    """
    keys = [np.asarray(head, dtype=">u4").tobytes() for head in heads]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    agreeing = [_agreement(keys[one], keys[other]) for one, other in pairwise(order)]
    read = np.concatenate([[0], np.cumsum([sizes[place] for place in order], dtype=np.int64)])
    found = [
        Group(tuple(sorted(order[start:end])), depth) for start, end, depth in _best(agreeing, read.tolist())
    ]
    return sorted(found, key=lambda group: (-group.length, keys[group.places[0]]))


def _agreement(one: bytes, other: bytes) -> int:
    """How many tokens at the beginning are equal."""
    count = min(len(one), len(other)) // 4
    first, second = (np.frombuffer(each, dtype=">u4", count=count) for each in (one, other))
    different = np.flatnonzero(first != second)
    return int(different[0]) if len(different) else count


def _best(agreeing: list[int], read: list[int]) -> Iterator[tuple[int, int, int]]:
    """(start, end, depth) of the groups in sorted order: each set of rows that agree further than their
    neighbours do is a candidate, and is taken whole or by the groups inside it, whichever saves more.

    `agreeing` are the tokens in which neighbours agree; `read` the tokens of all rows before each place.
    """
    open_nodes = [_Node(0, 0)]
    for place, depth in enumerate([*agreeing, 0]):
        start, closed = place, None
        while open_nodes[-1].depth > depth:
            node = open_nodes.pop()
            if closed is not None:
                node.adopt(closed)
            _settle(node, place + 1, read)
            start, closed = node.start, node
        if open_nodes[-1].depth < depth:
            open_nodes.append(_Node(depth, start))
        if closed is not None:
            open_nodes[-1].adopt(closed)
    return iter(open_nodes[0].groups)


def _settle(node: _Node, end: int, read: list[int]) -> None:
    """Take all rows of the node as one group where that is allowed and saves more than the groups inside."""
    rows = end - node.start
    saved = node.depth * (rows - 1)
    enough = saved >= max(SAVED, SHARE * (read[end] - read[node.start]))
    if node.depth >= SHORTEST and rows >= FEWEST and enough and saved > node.saved:
        node.saved, node.groups = saved, [(node.start, end, node.depth)]
