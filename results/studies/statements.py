"""A study's statements and how each is tested, as a YAML file says that a user may read, copy and change."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import Field, model_validator

from results.files import WorkspaceError
from results.studies.benchmarks import Benchmark
from results.studies.cells import NONE
from results.studies.readings import WORDS, Reading
from results.studies.settings import Settings, read_settings

Levels = dict[str, tuple[str, ...]]
Pair = tuple[str, str]
Claim = Literal[
    "greater",
    "less",
    "at_least",
    "at_most",
    "equal",
    "small",
    "differs",
    "diverges",
    "somewhere_greater",
    "best",
    "correlated",
    "anticorrelated",
]


@dataclass(frozen=True)
class Vocabulary:
    """What the statements of a study may name.

    `baselines` are the other sides beside a contrast, each with its words; `rivals` those of them that go with the
    claim `best`. `horizon` is the paper's last step, which `at` refers to.
    """

    factors: tuple[str, ...]
    benchmarks: Callable[[], Mapping[str, Benchmark]]
    baselines: Mapping[str, str]
    rivals: tuple[str, ...]
    title: Callable[[str], str]
    horizon: float | None = None


class Comparison(Settings):
    """One comparison and what is claimed of it, for each of `slices`, of `at` and of `benchmarks`.

    The left side is a cell's score, or a `reading` of its curve, at the end or `at` a step of the paper. The right
    side is another cell, or with `beside` another benchmark of the same cell. `relative` takes the difference in per
    cent of the right side. Below `least_steps` a claim that does not hold is not testable; outside `scales` none is.
    """

    vocabulary: ClassVar[Vocabulary]

    cells: Levels
    slices: dict[str, Levels] = {"": {}}
    contrast: dict[str, Pair] = Field(default={}, max_length=1)
    other: dict[str, str] = {}
    against: str | None = None
    beside: str | None = None
    between: dict[str, Pair] = Field(default={}, max_length=1)
    reading: Reading | None = None
    split: float = 0.0
    at: tuple[float, ...] = ()
    relative: bool = False
    claim: Claim
    threshold: float = 0.0
    margins: dict[str, float] = {}
    least_steps: int | None = None
    scales: tuple[str, ...] = ()
    benchmarks: tuple[str, ...] = Field(min_length=1)

    @property
    def text(self) -> str:
        """What is compared, in words: `DPO - SFT`."""
        words = self._compared()
        if self.between:
            words = f"({words}): {self._less(self.between)}"
        if self.reading is not None:
            words = ", ".join(part for part in (WORDS[self.reading].format(split=self.split), words) if part)
        return {"small": f"|{words}|", "correlated": words.replace(" - ", " with ")}.get(self.claim, words)

    def _compared(self) -> str:
        if self.against is not None:
            return self.vocabulary.baselines[self.against]
        if self.beside is not None:
            beside = self.vocabulary.benchmarks()[self.beside].title
            return f"with {beside}" if self.claim in ("correlated", "anticorrelated") else f"less {beside}"
        if self.contrast:
            return self._less(self.contrast)
        titles = [self.vocabulary.title(level) for level in self.other.values()]
        named = [title for title, level in zip(titles, self.other.values(), strict=True) if level != NONE]
        return f"less {', '.join(named or titles[:1])}"

    def _less(self, contrast: dict[str, Pair]) -> str:
        ((first, second),) = contrast.values()
        return f"{self.vocabulary.title(first)} - {self.vocabulary.title(second)}"

    @model_validator(mode="after")
    def _makes_sense(self) -> "Comparison":
        words = self.vocabulary
        given = [bool(self.contrast), bool(self.other), self.against is not None, self.beside is not None]
        if sum(given) != 1:
            raise ValueError("give either `contrast` or `against` (or `other`, or `beside`)")
        _known("baseline", [self.against] if self.against is not None else [], list(words.baselines))
        if (self.claim == "best") != (self.against in words.rivals):
            rivals = " or ".join(f"`against: {name}`" for name in words.rivals)
            goes = f"the claim `best` goes with {rivals}, and with nothing else"
            raise ValueError(goes if rivals else "this study has no claim `best`")
        if self.at and (self.reading is not None or words.horizon is None):
            raise ValueError("`at` is for a study along its steps, and excludes `reading`")
        factors = [*self.cells, *self.contrast, *self.other, *self.between]
        factors += [factor for part in self.slices.values() for factor in part]
        _known("factor", factors, words.factors)
        beside = [] if self.beside is None else [self.beside]
        _known("benchmark", [*self.benchmarks, *self.margins, *beside], list(words.benchmarks()))
        return self


Test = TypeVar("Test", bound=Comparison)


class Statement(Settings, Generic[Test]):
    """A finding of the paper: tests of its own, or the verdicts of the findings that it follows from."""

    statement: str
    tests: tuple[Test, ...] = ()
    follows_from: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_tested(self) -> "Statement[Test]":
        if bool(self.tests) == bool(self.follows_from):
            raise ValueError("give either `tests` or `follows_from`")
        return self


def read_statements(path: Path, comparison: type[Test]) -> dict[str, Statement[Test]]:
    """The statements of a file by name, their tests as a study's own `comparison`.

    Raises:
        WorkspaceError: the file is missing or wrong; the message says where, and what is allowed.
    """
    kind: Any = dict[str, Statement[comparison]]  # type: ignore[valid-type]
    found: dict[str, Statement[Test]] = read_settings(path, kind)
    for name, one in found.items():
        tested = [other for other, each in found.items() if each.tests]
        for other in one.follows_from:
            if other not in tested:
                raise WorkspaceError(
                    f"{path}: {name}.follows_from: {other!r} is no tested statement; "
                    f"allowed: {', '.join(tested)}"
                )
    return found


def _known(what: str, names: Collection[str], allowed: Collection[str]) -> None:
    for name in names:
        if name not in allowed:
            raise ValueError(f"unknown {what} {name!r}; allowed: {', '.join(allowed)}")
