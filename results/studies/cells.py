"""Cells: what one experiment of a study is, its seed apart. Each study has a named tuple of its factors."""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any, TypeVar

Cell = TypeVar("Cell", bound="tuple[str, ...]")
"""A named tuple of levels as text; "none" is a factor that the experiment lacks."""

Levels = Mapping[str, Sequence[str]]
"""For some factors the levels that are wanted."""

NONE = "none"


def level(value: Any) -> str:
    """A level of the store as text: null is "none", 8.0 is "8"."""
    if isinstance(value, str):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return NONE
    return NONE if isnan(number) else f"{number:g}"


def fits(cell: "tuple[str, ...]", levels: Levels) -> bool:
    """Whether every factor named in `levels` has one of its levels in `cell`."""
    return all(getattr(cell, factor) in wanted for factor, wanted in levels.items())


def with_levels(cell: Cell, levels: Mapping[str, str]) -> Cell:
    """`cell` with some levels replaced."""
    changed: Cell = cell._replace(**levels)  # type: ignore[attr-defined]
    return changed


def named(cell: "tuple[str, ...]") -> dict[str, str]:
    """The levels by factor."""
    levels: dict[str, str] = cell._asdict()  # type: ignore[attr-defined]
    return levels


def shown(cell: "tuple[str, ...]") -> str:
    """The levels that a cell has, in order: `kl/weak/human`."""
    return "/".join(part for part in cell if part != NONE)
