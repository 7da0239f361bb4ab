"""Factors and their levels: the space that experiments are points of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import Problems, mistake, unknown
from orchestrator.source import Document

Level = str | int | float | bool | None
"""A level; None where a factor is absent."""

Vector = tuple[Level, ...]
"""One level for each factor, then one for each loop variable, in the order of `Space.names`."""

MISSING = object()
"""What an attribute is at a level that does not have it."""


@dataclass(frozen=True)
class Factor:
    """A factor. Where `when` (an expression over earlier factors) is false, the factor is absent."""

    name: str
    levels: tuple[Level, ...]
    when: str | None = None


class Space:
    """The factors of a grid, the settings that their levels bundle, and the loop variables of its pipeline.

    `declared` are the levels of the grid's base. Those that a scale or `--set` took away are retired: they
    may still be named, and no experiment has them.

    Invariant: `position[name]` indexes a `Vector`; factors come first, in the order of the grid.
    """

    def __init__(
        self,
        factors: tuple[Factor, ...],
        attributes: Mapping[str, Mapping[Any, Any]],
        loops: tuple[str, ...] = (),
        constants: Mapping[str, str] | None = None,
        declared: Mapping[str, Iterable[Any]] | None = None,
    ) -> None:
        self.factors = factors
        self.names = (*(factor.name for factor in factors), *loops)
        self.position = {name: number for number, name in enumerate(self.names)}
        self.levels = {factor.name: factor.levels for factor in factors}
        self.attributes = attributes
        self.loops = loops
        self.constants = dict(constants or {})
        self._known = {name: frozenset(map(_exact, levels)) for name, levels in self.levels.items()}
        self._retired = {
            name: frozenset(_exact(level) for level in levels if isinstance(level, Level)) - self._known[name]
            for name, levels in (declared or {}).items()
            if name in self._known
        }

    def attribute(self, factor: str, names: tuple[str, ...]) -> dict[Any, Any]:
        """Level -> value of the attribute `names`, for the levels that have it."""
        found = {}
        for level, settings in self.attributes.get(factor, {}).items():
            value = settings
            for name in names:
                value = value.get(name, MISSING) if isinstance(value, dict) else MISSING
            if value is not MISSING:
                found[level] = value
        return found

    def attribute_names(self, factor: str) -> list[str]:
        """The attributes that any level of `factor` has."""
        levels = self.attributes.get(factor, {}).values()
        return list(
            dict.fromkeys(str(name) for settings in levels if isinstance(settings, dict) for name in settings)
        )

    def retired(self, factor: str, level: Any) -> bool:
        """Whether the grid's base has `level`, and a scale or an override took it away."""
        return isinstance(level, Level) and _exact(level) in self._retired.get(factor, ())

    def check_equal(self, factor: str, value: Any, place: str) -> None:
        """Raise `GridError` unless some level of `factor` equals `value`; 1 equals 1.0 here."""
        if value is not None and value not in self.levels[factor]:
            self.check_level(factor, value, place)

    def check_level(self, factor: str, level: Any, place: str) -> None:
        """Raise `GridError` unless `level` is one of the factor's, or None (absent)."""
        if level is None or factor in self.loops:
            return
        known = isinstance(level, Level) and _exact(level) in self._known[factor]
        if not known and not self.retired(factor, level):
            raise mistake(place, unknown("level", level, self.levels[factor], f" of factor {factor!r}"))


def read_factors(document: Document) -> tuple[Factor, ...]:
    """The factors of a grid, in its order.

    Raises:
        GridError: a factor without levels, a level twice, a level that has no settings while others have.
    """
    problems = Problems()
    found = []
    for name, content in (document.get(("factors",)) or {}).items():
        with problems.collecting():
            found.append(_read_factor(document, name, content))
    _check_settings(document, found, problems)
    problems.raise_found()
    return tuple(found)


def _read_factor(document: Document, name: Any, content: Any) -> Factor:
    path = ("factors", name)
    place = document.place(path)
    if not isinstance(name, str) or not name.isidentifier():
        raise mistake(place, f"a factor's name must be a word of letters, digits and _, not {name!r}")
    when = None
    if isinstance(content, dict):
        for key in content:
            if key not in ("levels", "when"):
                raise mistake(
                    document.place((*path, key)),
                    unknown("key", key, ("levels", "when"), f" in factor {name!r}"),
                )
        content, when = content.get("levels"), content.get("when")
    if not isinstance(content, list) or not content:
        raise mistake(
            place, f"factor {name!r} must be a list of at least one level, or have `levels` with one"
        )
    _check_levels(name, content, place)
    return Factor(name, tuple(content), None if when is None else str(when))


def _check_levels(name: str, levels: list[Any], place: str) -> None:
    seen = set()
    for level in levels:
        if isinstance(level, (dict, list)) or level is None:
            raise mistake(
                place,
                f"a level of factor {name!r} must be a word or a number, not {level!r}; "
                f"settings belong under levels.{name}",
            )
        if level in seen:
            raise mistake(place, f"level {level!r} of factor {name!r} stands twice")
        seen.add(level)


def _check_settings(document: Document, factors: list[Factor], problems: Problems) -> None:
    """`levels` must speak of factors that exist, and of every level of those that it speaks of."""
    known = {factor.name: factor for factor in factors}
    for name, settings in (document.get(("levels",)) or {}).items():
        place = document.place(("levels", name))
        if name not in known:
            problems.add(place, unknown("factor", name, known, " under levels"))
        elif not isinstance(settings, dict):
            problems.add(place, f"levels.{name} must be a mapping from level to settings")
        else:
            for level in known[name].levels:
                if level not in settings:
                    where = document.place(("factors", name))
                    problems.add(where, unknown("level", level, settings, f" of factor {name!r}"))


def _exact(level: Any) -> tuple[type, Any]:
    """A level and its type: 1, 1.0 and true are equal to Python and different to a grid."""
    return type(level), level
