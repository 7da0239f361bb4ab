"""What the stages of a workspace were asked to compute."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from results.files import WorkspaceError, read_json
from results.studies.measurements import Measurements

Recipe = Mapping[str, Any]


def stage_recipes(found: Measurements, role: str) -> dict[str, Recipe]:
    """The recipes of all stages that the experiments have under `role`, by experiment.

    Raises:
        WorkspaceError: a `stage.json` is missing or damaged.
    """
    recipes: dict[str, Recipe] = {}
    for row in found.experiments[["experiment", "stages"]].to_dict("records"):
        stage = json.loads(row["stages"]).get(role)
        if stage is not None:
            recipes[row["experiment"]] = _recipe(found.workspace.stage_file(stage))
    return recipes


def values(recipes: Iterable[Recipe], path: str) -> str:
    """The distinct values of a setting over `recipes`, as text; "" where no recipe has it."""
    found = {_shown(value) for value in (_at(recipe, path) for recipe in recipes) if value is not _ABSENT}
    return "; ".join(sorted(found))


_ABSENT = object()


def _at(recipe: Any, path: str) -> Any:
    """The value at a dotted path; None where something on the way is None."""
    for part in path.split("."):
        if recipe is None:
            return None
        if not isinstance(recipe, Mapping) or part not in recipe:
            return _ABSENT
        recipe = recipe[part]
    return recipe


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _recipe(path: Path) -> Recipe:
    try:
        recipe: Recipe = read_json(path)["recipe"]
    except FileNotFoundError:
        raise WorkspaceError(f"{path}: the stage is planned, but was never written") from None
    except (KeyError, TypeError):
        raise WorkspaceError(f"{path}: not a stage") from None
    return recipe
