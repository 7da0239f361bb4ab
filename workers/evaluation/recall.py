"""What a warm process remembers between stages: prepared benchmarks, by everything that decides them."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Prepared = TypeVar("Prepared")

PLACE = "evaluation"
"""Where `StageContext.memory` holds the prepared benchmarks."""
CAPACITY = 32
"""How many prepared benchmarks are kept; the one that was used longest ago makes room."""


def recalled(memory: dict[str, Any], key: Hashable, prepare: Callable[[], Prepared]) -> Prepared:
    """What `prepare` gave for `key` before, or gives now.

    Invariant: `key` holds everything that the prepared value depends on, so remembering changes no number.
    """
    kept: OrderedDict[Hashable, Any] = memory.setdefault(PLACE, OrderedDict())
    if key not in kept:
        kept[key] = prepare()
    kept.move_to_end(key)
    while len(kept) > CAPACITY:
        kept.popitem(last=False)
    value: Prepared = kept[key]
    return value
