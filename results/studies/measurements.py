"""What one study measured in a workspace: its experiments and every figure of them, at one scale and preset."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from results.files import WorkspaceError
from results.layout import Workspace
from results.studies.memory import remembered

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Measurements:
    """The planned `experiments` (a row each, finished or not) and the `figures` of those that were measured.

    `figures` has the columns of `results.metrics`. Invariant: all experiments are of one scale
    and, unless presets are to be compared, of one preset.
    """

    workspace: Workspace
    experiments: "pd.DataFrame"
    figures: "pd.DataFrame"
    scale: str
    preset: str

    def curves(self, names: Collection[str]) -> "pd.DataFrame":
        """What training logged under `names`; the columns of `results.curves`."""
        import results

        curves = results.curves(self.workspace)
        return curves[curves["name"].isin(names) & curves["experiment"].isin(self.experiments["experiment"])]


@remembered
def read_measurements(
    workspace: Workspace, study: str, chosen: Collection[str] | None = None, mixed: bool = False
) -> Measurements:
    """The measurements of `study`; of the experiments in `chosen` (ids) when that is given.

    `mixed` allows several presets.

    Raises:
        WorkspaceError: there are no such experiments, or they mix scales or presets.
    """
    import results

    experiments = results.experiments(workspace)
    mine = experiments[experiments["study"] == study] if len(experiments) else experiments
    if mine.empty:
        there = sorted(set(experiments["study"])) if len(experiments) else []
        held = f"; it holds: {', '.join(there)}" if there else ""
        raise WorkspaceError(f"{workspace.root}: no experiments of the study {study!r} here{held}")
    if chosen is not None:
        mine = mine[mine["experiment"].isin(list(chosen))]
    scale, preset = _only(mine, workspace, mixed)
    metrics = results.metrics(workspace)
    figures = metrics[metrics["experiment"].isin(mine["experiment"])]
    return Measurements(workspace, mine, figures, scale, preset)


def _only(experiments: "pd.DataFrame", workspace: Workspace, mixed: bool) -> tuple[str, str]:
    found = sorted({(str(scale), str(preset)) for scale, preset in _pairs(experiments)})
    scales = {scale for scale, _ in found}
    if len(found) == 1 or (mixed and len(scales) == 1):
        return found[0][0], ", ".join(preset for _, preset in found)
    listed = ", ".join(f"{scale}/{preset}" for scale, preset in found)
    raise WorkspaceError(
        f"{workspace.root}: several scales or presets ({listed}) do not make one table; choose: "
        f'--where \'scale == "{found[0][0]}" and preset == "{found[0][1]}"\''
    )


def _pairs(experiments: "pd.DataFrame") -> list[tuple[object, object]]:
    return list(zip(experiments["scale"], experiments["preset"], strict=True))
