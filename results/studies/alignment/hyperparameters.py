"""Table T6: the hyperparameters that a workspace's SFT and DPO stages were given, beside the published ones."""

from pathlib import Path

from results.studies.measurements import Measurements
from results.studies.recipes import stage_recipes, values
from results.studies.rendering import Table
from results.studies.settings import Settings, read_settings

FILE = Path(__file__).with_name("hyperparameters.yaml")
METHODS = ("sft", "dpo")


class Hyperparameter(Settings):
    """A row of the table: where it stands in a recipe, and what the paper prints for each method."""

    title: str
    path: str
    sft: str
    dpo: str


def hyperparameter_table(found: Measurements | None, published: bool) -> Table:
    """One row a setting and one column a method; a setting on which experiments differ lists its values.

    Raises:
        WorkspaceError: a stage of the workspace has no readable `stage.json`.
    """
    recipes = {} if found is None else {method: stage_recipes(found, method) for method in METHODS}
    header, rows = ["setting"], []
    for method in METHODS:
        header += [method.upper()] if recipes else []
        header += [f"{method.upper()} published"] if published else []
    for one in read_settings(FILE, list[Hyperparameter]):
        row = [one.title]
        for method in METHODS:
            row += [values(recipes[method].values(), one.path)] if recipes else []
            row += [getattr(one, method)] if published else []
        rows.append(row)
    scale = "published" if found is None else f"scale {found.scale}, preset {found.preset}"
    notes = [f"{method.upper()}: {len(stages)} stages." for method, stages in recipes.items()]
    notes += ["–: the paper does not give it."] if published else []
    return Table(f"T6: hyperparameters ({scale})", header, rows, notes)
