"""`--where` on what a workspace already holds: conditions over levels that are recorded, without the grid."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from orchestrator.errors import mistake
from orchestrator.expressions import compile_expression
from orchestrator.factors import Factor, Space

Row = Mapping[str, Any]


def chooser(where: str | None, rows: Iterable[Row], numbers: Iterable[str] = ()) -> Callable[[Row], bool]:
    """A predicate over rows of levels.

    `numbers` name columns that may be compared with any value; for the others a level that no row has is a
    mistake, as it is in a grid.

    Raises:
        GridError: the expression is wrong; the message says what is allowed.
    """
    if where is None:
        return lambda row: True
    levels: dict[str, dict[Any, None]] = {}
    for row in rows:
        for name, level in row.items():
            levels.setdefault(name, {})[level] = None
    loops = tuple(name for name in numbers if name in levels)
    factors = tuple(
        Factor(name, tuple(level for level in seen if level is not None))
        for name, seen in levels.items()
        if name not in loops
    )
    space = Space(factors, {}, loops)
    expression = compile_expression(where, space, f"--where {where}")

    def holds(row: Row) -> bool:
        return expression.holds(tuple(row.get(name) for name in space.names))

    return holds


def none_selected(where: str) -> Exception:
    """The mistake of a condition that holds for nothing."""
    return mistake(f"--where {where}", "selects none of the experiments of this workspace")
