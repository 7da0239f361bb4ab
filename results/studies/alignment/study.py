"""What a command needs of the study: `TABLES`, `FIGURES`, and one function for each of its verbs.

Importing this is cheap: pandas, scipy and matplotlib are imported by the first call that needs them.
"""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from results.layout import Workspace

if TYPE_CHECKING:
    from results.studies.drawing import Figure
    from results.studies.measurements import Measurements
    from results.studies.rendering import Table

TABLES = ("T2", "T3", "T4", "T5", "T6")
FIGURES = ("F1", "F2", "F3", "F4", "F5", "F6")

Chosen = Collection[str] | None


def table(
    name: str,
    workspace: Workspace | None,
    chosen: Chosen = None,
    published: bool = False,
    shape: bool = False,
    swap_slerp: bool = False,
) -> "Table":
    """One of TABLES from `workspace` (None: the published figures alone), of the experiments in `chosen`.

    Raises:
        WorkspaceError: there are no experiments of the study, or they mix scales or presets.
    """
    from results.studies.alignment.hyperparameters import hyperparameter_table
    from results.studies.alignment.scores import published_scores, store_scores
    from results.studies.alignment.tables import Sources, results_table

    found = _measurements(workspace, chosen)
    if name == "T6":
        return hyperparameter_table(found, published or found is None)
    printed = published_scores(swap_slerp) if published or found is None else None
    return results_table(name, Sources(None if found is None else store_scores(found), printed, shape))


def figure(
    name: str, workspace: Workspace | None, chosen: Chosen = None, published: bool = False
) -> "Figure":
    """One of FIGURES from `workspace` (None: the published figures alone), of the experiments in `chosen`.

    Raises:
        WorkspaceError: there are no experiments of the study, they mix scales or presets, or the paper does not
            print the figure's values.
    """
    from results.studies.alignment.figures import study_figure
    from results.studies.alignment.scores import published_scores

    found = _measurements(workspace, chosen)
    return study_figure(name, found, published_scores() if published or found is None else None)


def findings(
    workspace: Workspace | None,
    chosen: Chosen = None,
    published: bool = False,
    statements: Path | None = None,
    swap_slerp: bool = False,
) -> "tuple[Table, str]":
    """The study's statements tested, as a table and as JSON; `statements` is a file to take instead of ours.

    Raises:
        WorkspaceError: there are no experiments of the study, they mix scales or presets, or the file is wrong.
    """
    from results.studies.alignment.pairs import BASELINES
    from results.studies.alignment.scores import published_scores, store_scores
    from results.studies.alignment.statements import FILE, read_statements
    from results.studies.findings import tested

    read = read_statements(statements or FILE)
    found = _measurements(workspace, chosen)
    store = None if found is None else store_scores(found)
    printed = published_scores(swap_slerp) if published or found is None else None
    return tested("alignment", store, printed, read, BASELINES)


def _measurements(workspace: Workspace | None, chosen: Chosen) -> "Measurements | None":
    from results.studies.measurements import read_measurements

    return None if workspace is None else read_measurements(workspace, "alignment", chosen)
