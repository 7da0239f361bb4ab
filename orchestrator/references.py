"""References `${…}`: to constants of the document (OmegaConf's, resolved once) and to factors (ours).

A reference whose first name is a factor or a loop variable, `${model}` or `${model.template}`, differs from
one experiment to the next. It is kept through OmegaConf's pass in a shield, and compiled by
`orchestrator.templates`.
"""

import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from orchestrator.errors import GridError, mistake, unknown
from orchestrator.source import Document, KeyPath

OPEN, CLOSE = "\ue000", "\ue001"
"""Private characters that no grid holds: they stand for `${` and `}` of a reference to a factor."""

_REFERENCE = re.compile(r"\$\{\s*([\w-]+)((?:\.[\w+-]+)*)\s*\}")
_SHIELDED = re.compile(f"{OPEN}([^{CLOSE}]*){CLOSE}")
_DEEPEST = 50


def whole_reference(text: str) -> str | None:
    """The dotted target when `text` is one reference and nothing else."""
    match = _REFERENCE.fullmatch(text.strip())
    return match.group(1) + match.group(2) if match else None


def shield(value: Any, names: Collection[str]) -> Any:
    """`value` with every reference to one of `names` hidden from OmegaConf."""

    def hide(match: re.Match[str]) -> str:
        return f"{OPEN}{match.group(1)}{match.group(2)}{CLOSE}" if match.group(1) in names else match.group(0)

    return _map_strings(value, lambda text: _REFERENCE.sub(hide, text))


def shielded_parts(text: str) -> list[str]:
    """`text` cut at its factor references: even entries are literal, odd ones dotted targets."""
    return _SHIELDED.split(text)


def readable(text: str) -> str:
    """`text` as it was written in the grid."""
    return text.replace(OPEN, "${").replace(CLOSE, "}")


def resolve_constants(document: Document, names: Collection[str]) -> dict[Any, Any]:
    """The values of `document` with constants put in and references to factors shielded.

    Raises:
        GridError: a reference names nothing, or references go round in a circle.
    """
    shielded = shield(document.values, names)
    if not any("${" in text for _, text in strings(shielded)):
        return dict(shielded)
    try:
        resolved = OmegaConf.to_container(OmegaConf.create(shielded), resolve=True)
    except (OmegaConfBaseException, RecursionError) as error:
        raise _unresolved(document, error) from None
    assert isinstance(resolved, dict)
    return dict(resolved)


def reference_targets(values: Any) -> set[KeyPath]:
    """The paths that references point to; those to factors as `levels.<factor>.<level>.<rest>`."""
    levels = values.get("levels") or {}
    targets: set[KeyPath] = set()
    for _, text in strings(values):
        for first, rest in _REFERENCE.findall(text):
            tail = tuple(rest.split(".")[1:])
            if isinstance(levels, dict) and isinstance(levels.get(first), dict):
                targets |= {("levels", first, level, *tail) for level in levels[first] if tail}
            targets.add((first, *tail))
    return targets


def trace(document: Document, path: KeyPath, level_of: Callable[[str], Any]) -> KeyPath:
    """Where the value that ends at `path` was written, following whole references on the way.

    `level_of` gives the level of a factor, or None for a name that is no factor.
    """
    for _ in range(_DEEPEST):
        jump = _jump(document, path, level_of)
        if jump is None:
            break
        path = jump
    return path


def strings(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Every string below `value`, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from strings(item, (*path, number))


def _jump(document: Document, path: KeyPath, level_of: Callable[[str], Any]) -> KeyPath | None:
    """`path` after its first whole reference is followed, or None when it passes through none."""
    for length in range(1, len(path) + 1):
        value = document.get(path[:length])
        target = whole_reference(value) if isinstance(value, str) else None
        if target:
            first, *rest = target.split(".")
            level = level_of(first)
            start = (first, *rest) if level is None else ("levels", first, level, *rest)
            return (*start, *path[length:])
    return None


def _map_strings(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _map_strings(item, change) for key, item in value.items()}
    return [_map_strings(item, change) for item in value] if isinstance(value, list) else value


def _unresolved(document: Document, error: Exception) -> GridError:
    """The error of a reference that OmegaConf could not follow, at the place where it was written."""
    circle = _circle(document)
    if circle:
        names = " -> ".join(".".join(map(str, path)) for path in circle)
        return mistake(document.place(circle[0]), f"references that go round in a circle: {names}")
    message = str(error).splitlines()[0]
    for path, text in strings(document.values):
        for first, rest in _REFERENCE.findall(text):
            if f"'{first}{rest}'" in message:
                return mistake(document.place(path), _nowhere(document, f"{first}{rest}"))
        if "${" in text and text in message:
            return mistake(document.place(path), f"cannot resolve {text!r}: {message}")
    return mistake(document.name, f"cannot resolve a reference: {message}")


def _nowhere(document: Document, target: str) -> str:
    """What is wrong with a reference whose target does not exist, and what it could have meant."""
    path: KeyPath = ()
    for name in target.split("."):
        siblings = document.get(path)
        if not isinstance(siblings, dict) or name not in siblings:
            where = f" in {'.'.join(map(str, path))}" if path else ""
            allowed = siblings if isinstance(siblings, dict) else ()
            return unknown("name", name, allowed, f"{where}, which ${{{target}}} refers to")
        path = (*path, name)
    return f"cannot resolve ${{{target}}}"


def _circle(document: Document) -> list[KeyPath]:
    """The paths of whole references that lead back to the first of them, or none."""
    for start, _ in strings(document.values):
        seen, path = [start], start
        while (jump := _jump(document, path, lambda name: None)) is not None and jump not in seen:
            seen.append(jump)
            path = jump
        if jump is not None:
            return [*seen[seen.index(jump) :], jump]
    return []
