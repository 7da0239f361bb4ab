"""What a warm process remembers between stages: prepared benchmarks, by everything that decides them."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

PLACE = "evaluation"
"""Where `StageContext.memory` holds the prepared benchmarks."""
CAPACITY = 2_000_000
"""Tokens that are kept (some 100 MB); the benchmark that was used longest ago makes room."""


class Prepared(Protocol):
    """A benchmark's rows as tokens."""

    @property
    def size(self) -> int:
        """How many tokens it holds."""
        ...


Kept = TypeVar("Kept", bound=Prepared)


def recalled(memory: dict[str, Any], key: Hashable, prepare: Callable[[], Kept]) -> Kept:
    """What `prepare` gave for `key` before, or gives now.

    Invariant: `key` holds everything that the prepared value depends on, so remembering changes no number.
    """
    kept: OrderedDict[Hashable, Kept] = memory.setdefault(PLACE, OrderedDict())
    value = kept.pop(key) if key in kept else prepare()
    kept[key] = value
    while kept and sum(each.size for each in kept.values()) > CAPACITY:
        kept.popitem(last=False)
    return value
