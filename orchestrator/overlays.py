"""Overlays: what a scale, a preset or `--set` puts over the base of a grid.

Mappings merge key by key; anything else, lists too, replaces what was there.
"""

from typing import Any

import yaml

from orchestrator.errors import mistake, unknown
from orchestrator.references import reference_targets, whole_reference
from orchestrator.source import Document, KeyPath, parse_value

FREE_SECTIONS = ("recipe", "resources", "execution", "with", "for", "parents")
"""Parts of a pipeline stage whose keys are checked later, against the kind: an override may add to them."""


def apply_overlay(document: Document, overlay: KeyPath) -> None:
    """Merge the mapping at `overlay` onto the top of `document`, values and places."""
    content = document.get(overlay)
    if content is not None and not isinstance(content, dict):
        raise mistake(document.place(overlay), f"{_dots(overlay)} must be a mapping, not {content!r}")
    for key, value in (content or {}).items():
        _merge(document, document.values, (key,), value, overlay)


def apply_override(document: Document, text: str) -> None:
    """Apply one `dotted.key=value` of the command line; the value is YAML.

    Raises:
        GridError: there is no `=`, the value is not YAML, or the key names nothing.
    """
    place = f"--set {text}"
    dotted, equals, written = text.partition("=")
    if not equals or not dotted.strip():
        raise mistake(place, "must be KEY=VALUE, for example recipes.dpo.training.learning_rate=1e-4")
    try:
        value = parse_value(written)
    except yaml.YAMLError:
        raise mistake(place, f"the value {written!r} is not readable as YAML") from None
    path = _find(document, dotted.strip(), place)
    _set(document, path, value)
    document.places = {known: where for known, where in document.places.items() if known[: len(path)] != path}
    document.places[path] = place


def _merge(document: Document, target: Any, path: KeyPath, value: Any, overlay: KeyPath) -> None:
    key = path[-1]
    if isinstance(value, dict) and isinstance(target.get(key), dict):
        for inner, content in value.items():
            _merge(document, target[key], (*path, inner), content, overlay)
        return
    target[key] = _copy(value)
    origin = (*overlay, *path)
    moved = {known: where for known, where in document.places.items() if known[: len(origin)] == origin}
    document.places = {known: where for known, where in document.places.items() if known[: len(path)] != path}
    document.places.update({known[len(overlay) :]: where for known, where in moved.items()})


def _copy(value: Any) -> Any:
    """A copy that later overlays may change without changing the overlay it came from."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _find(document: Document, dotted: str, place: str) -> KeyPath:
    """The path that a dotted key means; a new key is one only where it is sure to be checked later."""
    path: KeyPath = ()
    node: Any = document.values
    for word in dotted.split("."):
        if isinstance(node, str) and (target := whole_reference(node)) is not None:
            raise mistake(place, f"{_dots(path)} is a reference to {target}; set {target} instead")
        key = _match(node, word)
        if key is None:
            if not (isinstance(node, dict) or node is None) or not _may_grow(document, (*path, word)):
                raise mistake(
                    place, unknown("key", word, node if isinstance(node, dict) else (), _inside(path))
                )
            key, node = word, None
        else:
            node = node[key]
        path = (*path, key)
    return path


def _match(node: Any, word: str) -> Any:
    """The key of `node` that `word` spells (keys may be numbers), or None."""
    if isinstance(node, dict):
        return next((key for key in node if str(key) == word), None)
    if isinstance(node, list) and word.isdigit() and int(word) < len(node):
        return int(word)
    return None


def _may_grow(document: Document, path: KeyPath) -> bool:
    """Whether a new key at `path` ends in a recipe or in settings, where pydantic will judge it."""
    if path[0] == "pipeline" and len(path) > 2:
        return path[2] in FREE_SECTIONS
    if path[0] == "search" or (path[0] == "blocks" and path[2:3] == ("search",)):
        return True
    targets = reference_targets(document.values)
    return any(path[:length] in targets for length in range(1, len(path)))


def _set(document: Document, path: KeyPath, value: Any) -> None:
    node: Any = document.values
    for key in path[:-1]:
        if isinstance(node, dict) and node.get(key) is None:
            node[key] = {}
        node = node[key]
    node[path[-1]] = value


def _inside(path: KeyPath) -> str:
    return f" in {_dots(path)}" if path else ""


def _dots(path: KeyPath) -> str:
    return ".".join(str(key) for key in path)
