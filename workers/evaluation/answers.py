"""What the model has answered so far in a benchmark, batch by batch, so that it can go on in the middle."""

from collections.abc import Callable
from typing import Any


class Answers:
    """The answers of one benchmark in the order in which they are asked.

    `given` are answers of an earlier attempt: the first `len(given)` questions are answered from it and cost
    nothing. Invariant: a benchmark asks the same questions in the same order in every attempt, and an answer
    is plain JSON data, which keeps floats exactly; so a resumed benchmark equals an uninterrupted one.
    `after_each` is called with the number of items in a batch after each of its answers.
    """

    def __init__(
        self, given: list[Any] | None = None, after_each: Callable[[int], None] = lambda items: None
    ) -> None:
        self.given: list[Any] = given if given is not None else []
        self._place = 0
        self._after_each = after_each

    def ask(self, items: int, compute: Callable[[], Any]) -> Any:
        """The answer to the next batch of `items` items: an earlier attempt's, or what `compute` gives."""
        if self._place == len(self.given):
            self.given.append(compute())
        answer = self.given[self._place]
        self._place += 1
        self._after_each(items)
        return answer
