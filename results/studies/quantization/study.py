"""What a command needs of the study: `TABLES`, `FIGURES`, and one function for each of its verbs.

Importing this is cheap: pandas, scipy and matplotlib are imported by the first call that needs them.
"""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from results.layout import Workspace

if TYPE_CHECKING:
    from results.studies.drawing import Figure
    from results.studies.quantization.scores import Scores
    from results.studies.rendering import Table

TABLES = ("T-loss", "T-ppl", "T-ppl-token", "T-glue", "T-glue-draws", "T-llama")
FIGURES = (
    *(f"F-curves-{family}" for family in ("W", "A", "G", "m", "v")),
    *("F-sharp", "F-outliers", "F-ghist", "F-surface", "F-time", "F-mem"),
)

Chosen = Collection[str] | None


def table(name: str, workspace: Workspace | None, chosen: Chosen = None, published: bool = False) -> "Table":
    """One of TABLES from `workspace` (None: the published figures alone), of the experiments in `chosen`.

    Raises:
        WorkspaceError: there are no experiments of the study, or they mix scales or presets.
    """
    from results.studies.quantization.scores import published_scores
    from results.studies.quantization.tables import arms_table
    from results.studies.tables import Sources

    store = _scores(workspace, chosen)
    return arms_table(name, Sources(store, published_scores() if published or store is None else None))


def figure(
    name: str, workspace: Workspace | None, chosen: Chosen = None, published: bool = False
) -> "Figure":
    """One of FIGURES from `workspace`, of the experiments in `chosen`.

    Raises:
        WorkspaceError: there is no workspace, there are no experiments of the study, they mix scales or presets, or
            nothing of the figure was measured.
    """
    from results.studies.quantization.figures import study_figure

    return study_figure(name, _scores(workspace, chosen, name.startswith("F-curves")))


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
    from results.studies.quantization.scores import published_scores
    from results.studies.quantization.statements import BASELINES, FILE, read_statements

    read = read_statements(statements or FILE)
    store = _scores(workspace, chosen)
    printed = published_scores() if published or store is None else None
    return tested("quantization", store, printed, read, BASELINES)


def _scores(workspace: Workspace | None, chosen: Chosen, curves: bool = False) -> "Scores | None":
    from results.studies.measurements import read_measurements
    from results.studies.quantization.scores import store_scores

    if workspace is None:
        return None
    return store_scores(read_measurements(workspace, "quantization", chosen), curves)
