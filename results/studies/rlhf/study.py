"""What a command needs of the study: `TABLES`, `FIGURES`, and one function for each of its verbs.

Importing this is cheap: pandas, scipy and matplotlib are imported by the first call that needs them.
"""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from results.layout import Workspace

if TYPE_CHECKING:
    from results.studies.drawing import Figure
    from results.studies.rendering import Table
    from results.studies.rlhf.scores import Scores

TABLES = ("T1", "T2", "T3", "T4", "T5")
FIGURES = ("F1", "F2", "F3", "F4")

Chosen = Collection[str] | None


def table(name: str, workspace: Workspace | None, chosen: Chosen = None, published: bool = False) -> "Table":
    """One of TABLES from `workspace` (None: the published figures alone), of the experiments in `chosen`.

    T5 compares settings, so its experiments may be of several presets.

    Raises:
        WorkspaceError: there are no experiments of the study, or they mix scales or presets.
    """
    from results.studies.rlhf.scores import published_scores
    from results.studies.rlhf.tables import study_table
    from results.studies.tables import Sources

    store = _scores(workspace, chosen, mixed=name == "T5")
    return study_table(name, Sources(store, published_scores() if published or store is None else None))


def figure(
    name: str, workspace: Workspace | None, chosen: Chosen = None, published: bool = False
) -> "Figure":
    """One of FIGURES from `workspace` (None: the published figures alone), of the experiments in `chosen`.

    Raises:
        WorkspaceError: there are no experiments of the study, they mix scales or presets, nothing of the figure was
            measured, or the paper does not print its values.
    """
    from results.studies.rlhf.figures import study_figure
    from results.studies.rlhf.scores import published_scores

    store = _scores(workspace, chosen, curves=True)
    return study_figure(name, store, published_scores() if published or store is None else None)


def findings(
    workspace: Workspace | None,
    chosen: Chosen = None,
    published: bool = False,
    statements: Path | None = None,
) -> "tuple[Table, str]":
    """The study's statements tested, as a table and as JSON; `statements` is a file to take instead of ours.

    Raises:
        WorkspaceError: there are no experiments of the study, they mix scales or presets, or the file is wrong.
    """
    from results.studies.findings import tested
    from results.studies.rlhf.scores import published_scores
    from results.studies.rlhf.statements import BASELINES, FILE, read_statements

    read = read_statements(statements or FILE)
    store = _scores(workspace, chosen, curves=True)
    printed = published_scores() if published or store is None else None
    return tested("rlhf", store, printed, read, BASELINES)


def _scores(
    workspace: Workspace | None, chosen: Chosen, curves: bool = False, mixed: bool = False
) -> "Scores | None":
    from results.studies.measurements import read_measurements
    from results.studies.rlhf.scores import store_scores

    if workspace is None:
        return None
    return store_scores(read_measurements(workspace, "rlhf", chosen, mixed), curves)
