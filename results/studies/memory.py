"""What the tables, figures and findings of one study share is computed once, while the caller wishes it."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

_KEPT: ContextVar[dict[Hashable, tuple[Any, Any]] | None] = ContextVar("kept", default=None)


@contextmanager
def remembering() -> Iterator[None]:
    """While this lasts, a function that is `remembered` computes the same answer once; then all is forgotten.

    The workspaces are taken not to change meanwhile.
    """
    token = _KEPT.set({})
    try:
        yield
    finally:
        _KEPT.reset(token)


def remembered(function: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """Let `function` remember its answers while `remembering`. Nobody may change an answer that was returned."""

    @wraps(function)
    def answer(*args: Given.args, **kwargs: Given.kwargs) -> Answer:
        kept = _KEPT.get()
        if kept is None:
            return function(*args, **kwargs)
        key = (function, tuple(map(_key, args)), tuple((name, _key(one)) for name, one in kwargs.items()))
        if key not in kept:
            kept[key] = (
                (args, kwargs),
                function(*args, **kwargs),
            )  # what is known by its place must stay there
        found: Answer = kept[key][1]
        return found

    return answer


def _key(value: Any) -> Hashable:
    """What tells `value` from others: itself, its items, or the place where it lies."""
    if isinstance(value, Mapping):
        return tuple((name, _key(one)) for name, one in value.items())
    if isinstance(value, list | tuple | set):
        return (type(value).__name__, *map(_key, value))
    try:
        hash(value)
    except TypeError:
        return id(value)
    return cast(Hashable, value)
