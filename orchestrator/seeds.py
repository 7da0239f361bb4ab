"""`--seeds N`: as many seeds as that, whatever the grid lists. More of them are the next whole numbers.

A stage's id does not depend on how many seeds there are, so what is done stays done and only the new seeds run.
"""

from typing import Any

from orchestrator.errors import mistake
from orchestrator.source import Document

FACTOR = "seed"


def set_seeds(document: Document, count: int) -> None:
    """Give the factor `seed` its first `count` levels, extended beyond the largest where it has fewer.

    Raises:
        GridError: the grid has no such factor, its levels are not whole numbers, or the count is not positive.
    """
    place = f"--seeds {count}"
    content = document.values["factors"].get(FACTOR)
    levels = content.get("levels") if isinstance(content, dict) else content
    if count < 1:
        raise mistake(place, "there must be one seed or more")
    if content is None:
        raise mistake(place, f"{document.name} has no factor {FACTOR!r}")
    if not isinstance(levels, list) or not levels or not all(type(level) is int for level in levels):
        raise mistake(place, f"the levels of {FACTOR!r} must be a list of whole numbers, not {levels!r}")
    extended = [*levels, *range(max(levels) + 1, max(levels) + 1 + max(count - len(levels), 0))][:count]
    _replace(document, content, extended)


def _replace(document: Document, content: Any, levels: list[int]) -> None:
    if isinstance(content, dict):
        content["levels"] = levels
    else:
        document.values["factors"][FACTOR] = levels
