"""The few last used base models and tokenizers of a warm worker."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from workers.context import StageContext

MODELS_KEPT = 2
TOKENIZERS_KEPT = 4
ROWS_KEPT = 4


class BoundedCache:
    """At most `limit` values, the least recently used dropped first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._values: OrderedDict[object, Any] = OrderedDict()

    def get(self, key: object, make: Callable[[], Any]) -> Any:
        """The value of `key`, made when it is not there. Room is made first, so that memory never holds one
        more.
        """
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        while len(self._values) >= self.limit:
            self._values.popitem(last=False)
        value = self._values[key] = make()
        return value

    def forget(self, key: object) -> None:
        """Drop `key` if it is there."""
        self._values.pop(key, None)

    def __len__(self) -> int:
        return len(self._values)


def model_cache(context: StageContext) -> BoundedCache:
    """The base models that this worker keeps."""
    return _cache(context, "models", MODELS_KEPT)


def tokenizer_cache(context: StageContext) -> BoundedCache:
    """The tokenizers that this worker keeps."""
    return _cache(context, "tokenizers", TOKENIZERS_KEPT)


def rows_cache(context: StageContext) -> BoundedCache:
    """The tokenized training rows that this worker keeps."""
    return _cache(context, "rows", ROWS_KEPT)


def _cache(context: StageContext, name: str, limit: int) -> BoundedCache:
    cache: BoundedCache = context.memory.setdefault(f"workers.models.{name}", BoundedCache(limit))
    return cache
