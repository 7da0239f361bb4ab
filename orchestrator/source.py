"""A YAML file as plain values that remember where each of them was written."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import GridError, Problem, mistake, nearest

KeyPath = tuple[Any, ...]
"""Keys and list positions from the top of a document down to a value."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _GridLoader(_Loader):  # type: ignore[misc]
    """YAML's safe loader that also reads `1e-4` as a number, as YAML 1.2 does."""


_GridLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


@dataclass
class Document:
    """A tree of values and the place (`file:line`) where each was written.

    Invariant: `places` has an entry for the top, `()`; a value without an own entry lies at its nearest
    ancestor's.
    """

    name: str
    values: dict[Any, Any]
    places: dict[KeyPath, str] = field(default_factory=dict)

    def place(self, path: KeyPath) -> str:
        """Where the value at `path`, or else its nearest ancestor, was written."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, self.name)

    def get(self, path: KeyPath, default: Any = None) -> Any:
        """The value at `path`, or `default` where there is none."""
        node: Any = self.values
        for key in path:
            try:
                node = node[key]
            except (KeyError, IndexError, TypeError):
                return default
        return node


def read_document(path: Path) -> Document:
    """Read a YAML file whose top is a mapping.

    Raises:
        GridError: the file cannot be read, is not YAML (perhaps half-written), or has a key twice.
    """
    name = str(path)
    loader = _GridLoader(_read_text(path))
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise mistake(f"{name}:1", "the file must hold a mapping (keys with values), and it holds none")
        marks = list(_marks(node, (), name, ()))
        _check_duplicates(node, name)
        values = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise _unreadable(name, error) from None
    finally:
        loader.dispose()
    return Document(name, values, {(): f"{name}:1", **dict(marks)})


def parse_value(text: str) -> Any:
    """One YAML value, as the command line gives it.

    Raises:
        yaml.YAMLError: `text` is not YAML.
    """
    return yaml.load(text, _GridLoader)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise mistake(str(path), f"not readable as UTF-8 text (byte {error.start})") from None
    except OSError as error:
        names = [item.name for item in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        near = nearest(path.name, names)
        hint = f"; did you mean {str(path.parent / near)!r}?" if near else ""
        raise mistake(str(path), f"cannot be read: {error.strerror or error}{hint}") from None


def _unreadable(name: str, error: yaml.YAMLError) -> GridError:
    mark = getattr(error, "problem_mark", None)
    place = f"{name}:{mark.line + 1}" if mark else name
    problem = getattr(error, "problem", None) or str(error)
    return mistake(place, f"not readable as YAML: {problem}; is the file complete and its indentation even?")


def _marks(
    node: yaml.Node, path: KeyPath, name: str, above: tuple[int, ...]
) -> Iterator[tuple[KeyPath, str]]:
    """The place of every value below `node`: for an entry of a mapping, that of its key."""
    if id(node) in above:
        raise mistake(f"{name}:{node.start_mark.line + 1}", "an alias that contains itself")
    above = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, _key(key, name))
            yield inner, f"{name}:{key.start_mark.line + 1}"
            yield from _marks(value, inner, name, above)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield (*path, number), f"{name}:{item.start_mark.line + 1}"
            yield from _marks(item, (*path, number), name, above)


def _key(node: yaml.Node, name: str) -> Any:
    if not isinstance(node, yaml.ScalarNode):
        raise mistake(f"{name}:{node.start_mark.line + 1}", "a key must be a single word or number")
    if node.tag in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
        return node.value
    return parse_value(node.value)


def _check_duplicates(node: yaml.Node, name: str) -> None:
    problems: list[Problem] = []
    for mapping in _mappings(node):
        seen: dict[tuple[str, str], int] = {}
        for key, _ in mapping.value:
            line = key.start_mark.line + 1
            first = seen.setdefault((key.tag, key.value), line)
            if first != line or sum(key is other for other, _ in mapping.value) > 1:
                problems.append(
                    Problem(f"{name}:{line}", f"key {key.value!r} stands twice; the first is on line {first}")
                )
    if problems:
        raise GridError(problems)


def _mappings(node: yaml.Node) -> Iterator[yaml.MappingNode]:
    if isinstance(node, yaml.MappingNode):
        yield node
        for _, value in node.value:
            yield from _mappings(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _mappings(item)
