"""The study's statements and how each is tested, as the YAML file beside this module says."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from results.files import WorkspaceError
from results.studies.alignment.benchmarks import benchmarks
from results.studies.alignment.cells import Cell, title
from results.studies.settings import Settings, read_settings

FILE = Path(__file__).with_name("findings.yaml")
FACTORS = (*Cell._fields, "start_type")

Levels = dict[str, tuple[str, ...]]
Pair = tuple[str, str]
Baseline = Literal["original", "worst_single", "best_parent", "other_merges", "first_snapshot"]
Claim = Literal[
    "greater", "less", "at_least", "at_most", "equal", "small", "somewhere_greater", "best", "correlated"
]


AGAINST: dict[Baseline, str] = {
    "original": "less the original",
    "worst_single": "less the lower single run",
    "best_parent": "less the best parent",
    "other_merges": "less the best other merge",
    "first_snapshot": "change along the training",
}


class Comparison(Settings):
    """One comparison and what is claimed of it, for each of `slices` and `benchmarks`."""

    cells: Levels
    slices: dict[str, Levels] = {"": {}}
    contrast: dict[str, Pair] = Field(default={}, max_length=1)
    against: Baseline | None = None
    between: dict[str, Pair] = Field(default={}, max_length=1)
    claim: Claim
    threshold: float = 0.0
    margins: dict[str, float] = {}
    benchmarks: tuple[str, ...] = Field(min_length=1)

    @property
    def text(self) -> str:
        """What is compared, in words: `DPO - SFT`."""
        words = AGAINST[self.against] if self.against else _less(self.contrast)
        if self.between:
            words = f"({words}): {_less(self.between)}"
        changed = {"small": f"|{words}|", "correlated": words.replace(" - ", " with ")}
        return changed.get(self.claim, words)

    @model_validator(mode="after")
    def _makes_sense(self) -> "Comparison":
        if bool(self.contrast) == (self.against is not None):
            raise ValueError("give either `contrast` or `against`")
        if (self.claim == "best") != (self.against == "other_merges"):
            raise ValueError("the claim `best` goes with `against: other_merges`, and with nothing else")
        named = [
            *self.cells,
            *self.contrast,
            *self.between,
            *(f for part in self.slices.values() for f in part),
        ]
        _known("factor", named, FACTORS)
        _known("benchmark", [*self.benchmarks, *self.margins], benchmarks())
        return self


class Statement(Settings):
    """A finding of the paper: tests of its own, or the verdicts of the findings that it follows from."""

    statement: str
    tests: tuple[Comparison, ...] = ()
    follows_from: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_tested(self) -> "Statement":
        if bool(self.tests) == bool(self.follows_from):
            raise ValueError("give either `tests` or `follows_from`")
        return self


def read_statements(path: Path = FILE) -> dict[str, Statement]:
    """The statements of a file by name.

    Raises:
        WorkspaceError: the file is missing or wrong; the message says where, and what is allowed.
    """
    found = read_settings(path, dict[str, Statement])
    for name, one in found.items():
        tested = [other for other, each in found.items() if each.tests]
        for other in one.follows_from:
            if other not in tested:
                raise WorkspaceError(
                    f"{path}: {name}.follows_from: {other!r} is no tested statement; "
                    f"allowed: {', '.join(tested)}"
                )
    return found


def _less(contrast: dict[str, Pair]) -> str:
    ((first, second),) = contrast.values()
    return f"{title(first)} - {title(second)}"


def _known(what: str, names: list[str], allowed: object) -> None:
    for name in names:
        if name not in allowed:  # type: ignore[operator]
            raise ValueError(f"unknown {what} {name!r}; allowed: {', '.join(allowed)}")  # type: ignore[arg-type]
