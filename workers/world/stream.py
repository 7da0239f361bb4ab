"""Named random streams, one for each file, so that the size of one file never changes another."""

import random
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Stream:
    """Draws built on `Random.random()` alone, the one method whose sequence Python promises to keep."""

    def __init__(self, seed: int, name: str) -> None:
        self._random = random.Random(f"{seed}/{name}")

    def below(self, bound: int) -> int:
        """A uniform integer in [0, bound)."""
        return int(self._random.random() * bound)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random.random() < probability

    def pick(self, items: Sequence[Item]) -> Item:
        """One item, uniformly."""
        return items[self.below(len(items))]

    def pick_weighted(self, weights: Sequence[tuple[Item, float]]) -> Item:
        """One item in proportion to its weight."""
        rest = self._random.random() * sum(weight for _, weight in weights)
        for item, weight in weights:
            rest -= weight
            if rest < 0:
                return item
        return weights[-1][0]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """All items in a uniform order (Fisher-Yates)."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order

    def sample(self, items: Sequence[Item], count: int) -> list[Item]:
        """`count` distinct positions; ValueError when there are fewer."""
        if count > len(items):
            raise ValueError(f"cannot draw {count} distinct items from {len(items)}")
        return self.shuffled(items)[:count]

    def cycle(self, items: Sequence[Item], count: int) -> list[Item]:
        """`count` items; each occurs as often as any other, give or take one."""
        drawn: list[Item] = []
        while len(drawn) < count:
            drawn.extend(self.shuffled(items))
        return drawn[:count]
