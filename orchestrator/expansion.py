"""Expansion: from the blocks of a grid to its experiments, each once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, product
from operator import itemgetter
from typing import Any

from orchestrator.errors import Problems, mistake, unknown
from orchestrator.expressions import Expression, compile_expression
from orchestrator.factors import Level, Space, Vector
from orchestrator.source import Document, KeyPath

BLOCK_KEYS = ("product", "zip", "fixed", "exclude")
ALL = "all"

Column = tuple[tuple[str, ...], list[tuple[Level, ...]]]
"""Factors that move together, and the rows of levels that they take."""


class Conditionals:
    """The factors that are present only under a condition: where it is false they become absent (None)."""

    def __init__(self, space: Space, document: Document) -> None:
        self.rules: list[tuple[int, Expression]] = []
        for factor in space.factors:
            if factor.when is not None:
                place = document.place(("factors", factor.name, "when"))
                self.rules.append(
                    (space.position[factor.name], compile_expression(factor.when, space, place))
                )

    @property
    def depends(self) -> frozenset[int]:
        """The positions that decide about any conditional factor."""
        return frozenset().union(*(rule.depends for _, rule in self.rules))

    def apply(self, vector: Vector) -> Vector:
        """`vector` without the factors whose condition is false."""
        levels = list(vector)
        for position, rule in self.rules:
            if levels[position] is not None and not rule.holds(tuple(levels)):
                levels[position] = None
        return tuple(levels)


def expand(document: Document, space: Space, blocks: Sequence[str], where: str | None) -> list[Vector]:
    """The experiments of some blocks in their order, each once; loop variables are absent in all of them.

    Raises:
        GridError: a block names no factor or level, is empty, or nothing is left of it or of the selection.
    """
    problems = Problems()
    conditionals = Conditionals(space, document)
    found: dict[Vector, None] = {}
    for name in blocks:
        with problems.collecting():
            found.update(dict.fromkeys(_expand_block(document, space, conditionals, name)))
    if not found and not problems.found:
        problems.add(
            document.place(("factors",)),
            "no experiment is left: every block needs a level that was taken away",
        )
    problems.raise_found()
    return list(found) if where is None else _select(found, space, where)


def _select(experiments: Iterable[Vector], space: Space, where: str) -> list[Vector]:
    place = f"--where {where}"
    selected = list(filter(compile_expression(where, space, place).holds, experiments))
    if not selected:
        raise mistake(place, "selects none of the grid's experiments")
    return selected


def _expand_block(document: Document, space: Space, conditionals: Conditionals, name: str) -> list[Vector]:
    path = ("blocks", name)
    block = document.get(path)
    if not isinstance(block, dict):
        raise mistake(document.place(path), f"block {name!r} must be a mapping with {', '.join(BLOCK_KEYS)}")
    for key in block:
        if key not in BLOCK_KEYS:
            raise mistake(
                document.place((*path, key)), unknown("key", key, BLOCK_KEYS, f" in block {name!r}")
            )
    columns = _columns(document, space, path)
    kept = [_current(column, space) for column in columns]
    rows: Iterable[Vector] = _rows(kept, space)
    for excluded in _excluded(document, space, path):
        rows = [row for row in rows if not excluded.holds(row)]
    vectors = list(map(conditionals.apply, rows) if conditionals.rules else rows)
    if not vectors and kept == columns:
        raise mistake(document.place(path), f"block {name!r} has no experiments: everything is excluded")
    return vectors


def _current(column: Column, space: Space) -> Column:
    """The rows of a column without retired levels."""
    names, rows = column
    return names, [row for row in rows if not any(map(space.retired, names, row))]


def _rows(columns: list[Column], space: Space) -> Iterator[Vector]:
    """The product of `columns` as full vectors; the last column moves fastest."""
    names = [name for column, _ in columns for name in column]
    places = [names.index(name) if name in names else len(names) for name in space.names]
    order = _reorder(places)
    for choice in product(*(levels for _, levels in columns)):
        yield order((*chain.from_iterable(choice), None))


def _reorder(places: list[int]) -> Callable[[tuple[Level, ...]], Vector]:
    return itemgetter(*places) if len(places) > 1 else lambda flat: (flat[places[0]],)


def _columns(document: Document, space: Space, path: KeyPath) -> list[Column]:
    block = document.get(path)
    columns = [
        *_product_columns(document, space, (*path, "product"), block.get("product")),
        *_zip_columns(document, space, (*path, "zip"), block.get("zip")),
        *_fixed_columns(document, space, (*path, "fixed"), block.get("fixed")),
    ]
    seen: set[str] = set()
    for name in (name for names, _ in columns for name in names):
        if name in seen:
            raise mistake(document.place(path), f"factor {name!r} stands twice in block {path[-1]!r}")
        seen.add(name)
    if not columns:
        raise mistake(document.place(path), f"block {path[-1]!r} is empty; it needs product, zip or fixed")
    return columns


def _product_columns(document: Document, space: Space, path: KeyPath, content: Any) -> Iterator[Column]:
    if isinstance(content, list):
        content = {str(name): ALL for name in content}
    for name, levels in _mapping(document, path, content).items():
        yield (name,), [(level,) for level in _levels(document, space, (*path, name), name, levels)]


def _zip_columns(document: Document, space: Space, path: KeyPath, content: Any) -> Iterator[Column]:
    groups = enumerate(content) if isinstance(content, list) else [(None, content)]
    for number, group in groups:
        inner = path if number is None else (*path, number)
        mapping = _mapping(document, inner, group)
        columns = [_levels(document, space, (*inner, name), name, levels) for name, levels in mapping.items()]
        if len({len(column) for column in columns}) > 1:
            sizes = ", ".join(
                f"{name} has {len(column)}" for name, column in zip(mapping, columns, strict=True)
            )
            raise mistake(document.place(inner), f"coupled factors must have equally many levels: {sizes}")
        if columns:
            yield tuple(mapping), list(zip(*columns, strict=True))


def _fixed_columns(document: Document, space: Space, path: KeyPath, content: Any) -> Iterator[Column]:
    for name, level in _mapping(document, path, content).items():
        yield (name,), [(_levels(document, space, (*path, name), name, [level])[0],)]


def _mapping(document: Document, path: KeyPath, content: Any) -> dict[str, Any]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise mistake(
            document.place(path), f"{path[-1]} must be a mapping from factors to levels, not {content!r}"
        )
    return content


def _levels(document: Document, space: Space, path: KeyPath, name: str, levels: Any) -> list[Level]:
    place = document.place(path)
    if name not in space.levels:
        raise mistake(place, unknown("factor", name, space.levels, f" in block {path[1]!r}"))
    if levels == ALL:
        return list(space.levels[name])
    if not isinstance(levels, list) or not levels:
        raise mistake(
            place, f"factor {name!r} in block {path[1]!r} must be `all` or a list of at least one level"
        )
    problems = Problems()
    for level in levels:
        with problems.collecting():
            space.check_level(name, level, place)
    problems.raise_found()
    return levels


def _excluded(document: Document, space: Space, path: KeyPath) -> list[Expression]:
    content = document.get((*path, "exclude"))
    texts = content if isinstance(content, list) else [] if content is None else [content]
    return [
        compile_expression(text, space, document.place((*path, "exclude", number)))
        for number, text in enumerate(texts)
    ]
