"""Mistakes in a grid: where, what is wrong, what is allowed, and the nearest name that was meant."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from results.files import WorkspaceError

MOST_PROBLEMS = 20
"""More than these are cut: a list that scrolls away helps nobody."""


class Problem(NamedTuple):
    """One mistake. `place` is `file:line`, or the option of the command line that holds it."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


class GridError(WorkspaceError):
    """A grid that cannot be read, expanded or planned. The message is for the person who wrote it.

    Invariant: `problems` is never empty and holds no mistake twice; the message has one line for each.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        shown = [str(problem) for problem in self.problems[:MOST_PROBLEMS]]
        hidden = len(self.problems) - len(shown)
        super().__init__("\n".join([*shown, *([f"… and {hidden} more"] if hidden else [])]))


def mistake(place: str, text: str) -> GridError:
    """The error of one mistake."""
    return GridError([Problem(place, text)])


def unknown(what: str, name: object, allowed: Iterable[object], where: str = "") -> str:
    """The text of a name that does not exist: `unknown key 'x' in y; did you mean 'z'? Allowed: …`."""
    names = sorted({str(item) for item in allowed})
    near = nearest(name, names)
    listed = ", ".join(names) if names else "nothing"
    hint = f"; did you mean {near!r}? Allowed: {listed}" if near else f"; allowed: {listed}"
    return f"unknown {what} {name!r}{where}{hint}"


def nearest(name: object, names: Iterable[str]) -> str | None:
    """The name that was probably meant, or None."""
    return next(iter(difflib.get_close_matches(str(name), list(names), n=1, cutoff=0.5)), None)


class Problems:
    """Mistakes collected on the way, so that one run reports all that are cheap to find."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, place: str, text: str) -> None:
        """Note a mistake and go on."""
        self.found.append(Problem(place, text))

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Note the mistakes that the body raises, and go on after it."""
        try:
            yield
        except GridError as error:
            self.found.extend(error.problems)

    def raise_found(self) -> None:
        """Raise `GridError` with everything noted, if anything was."""
        if self.found:
            raise GridError(self.found)
