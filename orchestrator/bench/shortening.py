"""Recipes cut short: fewer steps, rows and items, each of the size that the grid gives it."""

from typing import Any

from workers.recipe import Recipe

DOCUMENTS = 20_000
"""Of a corpus that is tokenized, at most so many documents."""
ONE_BATCH = ("benchmarks", "prompts")
"""Lists whose entries have a `limit` of items."""


def shortened(recipe: Recipe, steps: int, rows: int) -> Recipe:
    """`recipe` for `steps` steps of training on at most `rows` rows, and one batch of every benchmark.

    Invariant: lengths, batches, models, adapters and precisions stay, so a step costs what it costs in the grid.
    Recipes that share their rows share them afterwards. A seed stays as it is.
    """
    given = recipe.model_dump()
    batch = given.get("batch_size", 1)
    found = _shorter(given, steps, rows, batch)
    if "step" in given:
        found["step"] = None
    if "analyses" in given:
        found |= {"batches": 1, "repeats": min(2, given["repeats"])}
    short: Recipe = type(recipe).model_validate(found)
    return short


def rows_needed(recipe: Any, steps: int) -> int:
    """The rows that so many steps of a training take."""
    sizes = [
        getattr(getattr(recipe, "training", None), "batch_size", 0),
        getattr(getattr(recipe, "rollout", None), "batch_size", 0),
        getattr(recipe, "generation_batch_size", None) or 0,
        getattr(recipe, "batch_size", 0),
    ]
    return steps * int(max(sizes))


def _shorter(given: dict[str, Any], steps: int, rows: int, batch: int) -> dict[str, Any]:
    return {name: _value(name, value, steps, rows, batch) for name, value in given.items()}


def _value(name: str, value: Any, steps: int, rows: int, batch: int) -> Any:
    match name:
        case "training" if isinstance(value, dict):
            return _training(value, steps)
        case "samples":
            return min(value or rows, rows)
        case "expected_pairs":
            return None
        case "corpus":
            return {**value, "limit": min(value["limit"] or DOCUMENTS, DOCUMENTS)}
        case _ if name in ONE_BATCH:
            return [_limited(each, steps, rows, batch) for each in value]
        case _ if isinstance(value, dict):
            return _shorter(value, steps, rows, batch)
    return value


def _limited(given: Any, steps: int, rows: int, batch: int) -> Any:
    if not isinstance(given, dict):
        return given
    return {**_shorter(given, steps, rows, batch), "limit": min(given["limit"] or batch, batch)}


def _training(given: dict[str, Any], steps: int) -> dict[str, Any]:
    """The first steps: their warm-up stays, so that the rates are those of the grid."""
    left_out = {"validation_steps": None} if "validation_steps" in given else {}
    counted = {"steps": steps} if "steps" in given else {}
    return {**given, **counted, **left_out}
