"""The settings in which the published code departs from a sound one, as the runs of a store have them."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from results.files import WorkspaceError
from results.studies.cells import NONE
from results.studies.measurements import Measurements
from results.studies.recipes import Recipe, stage_recipes
from results.studies.rlhf.cells import PPO, Cell

CORRECTED: Mapping[str, Any] = {
    "training.accumulation": "true",
    "training.adapter_dtype": "float32",
    "training.dropout": "matched",
    "estimation.padding": "masked",
    "training.checkpoint_label": "after_step",
    "reference_dtype": None,
    "rollout.score_text": False,
    "training.horizon": None,
}
"""Where each stands in a recipe of kind `ppo`, and its corrected value."""


def departures(recipe: Recipe) -> str:
    """The settings that are not the corrected ones: `accumulation=repeat padding=counted`; "none" without any."""
    found = []
    for path, corrected in CORRECTED.items():
        part: Any = recipe
        for name in path.split("."):
            part = part.get(name, corrected) if isinstance(part, Mapping) else corrected
        if part != corrected and not isinstance(part, Mapping):
            found.append(f"{path.rpartition('.')[2]}={part}")
    return " ".join(found) or NONE


def with_settings(found: Measurements) -> Callable[[Mapping[Any, Any]], Cell]:
    """How a row becomes a cell: with its settings where they differ within the store.

    The corrected ones are the usual ones where a run has them, else those that most runs have.
    """
    mine = departures_of(found)
    counts = Counter(mine.values())
    usual = NONE if NONE in counts or not counts else counts.most_common(1)[0][0]

    def of(row: Mapping[Any, Any]) -> Cell:
        settings = mine.get(row["experiment"], usual)
        cell = Cell.of({**row, "settings": None})
        return (
            cell
            if settings == usual
            else cell._replace(settings=settings if settings != NONE else "corrected")
        )

    return of


def departures_of(found: Measurements) -> dict[str, str]:
    """The departures of every experiment whose PPO stage can be read."""
    try:
        return {name: departures(recipe) for name, recipe in stage_recipes(found, PPO).items()}
    except WorkspaceError:
        return {}
