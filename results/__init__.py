"""The Parquet results store: what every experiment produced, as pandas frames.

`results.load("runs")` is one row per experiment; `metrics`, `curves`, `samples`, `attempts` and
`experiments` are the tidy tables beside it. All of them see the newest generation of the store and
everything that was committed since, each row once. Importing this package is cheap: pandas and pyarrow are
imported by the first call that needs them.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Union

from results.files import WorkspaceError
from results.layout import Workspace

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Workspace", "WorkspaceError", "attempts", "curves", "experiments", "load", "metrics", "samples"]

Place = Union[str, Path, Workspace]  # noqa: UP007


def load(workspace: Place = "runs", where: str | None = None) -> "pd.DataFrame":
    """One row per experiment, for `groupby` and friends.

    Columns: `experiment`, `name`, `study`, `scale`, `preset`, `status`, one per factor (null where an
    experiment lacks it), and per task its primary metric under the task's name, `task.stderr`, and other
    metrics as `task.metric`. Of several evaluations in one experiment the one at the largest step counts.
    `where` is a pandas query: `'method == "dpo" and seed < 3'`.

    Raises:
        WorkspaceError: there is no such workspace.
    """
    from results import frames

    return frames.load(workspace, where)


def experiments(workspace: Place = "runs", where: str | None = None) -> "pd.DataFrame":
    """One row per experiment: what it is, its factors, its status, and `stages` (JSON of role to stage)."""
    from results import frames

    return frames.experiments(workspace, where)


def metrics(workspace: Place = "runs", where: str | None = None) -> "pd.DataFrame":
    """One row per figure: `experiment`, `study`, `role`, and the columns of the table `metrics`.

    A stage that experiments share appears once for each that has it in its pipeline.
    """
    from results import frames

    return frames.metrics(workspace, where)


def curves(workspace: Place = "runs", where: str | None = None) -> "pd.DataFrame":
    """One row per logged value: `experiment`, `study`, `role`, `stage`, `step`, `name`, `value`."""
    from results import frames

    return frames.curves(workspace, where)


def samples(workspace: Place = "runs", where: str | None = None) -> "pd.DataFrame":
    """One row per sample: `experiment`, `study`, `role`, prompt, completion, reference, score, verdict."""
    from results import frames

    return frames.samples(workspace, where)


def attempts(workspace: Place = "runs", where: str | None = None) -> "pd.DataFrame":
    """One row per attempt that ended: stage, node, fingerprint, seconds by part, memory, how it ended."""
    from results import frames

    return frames.attempts(workspace, where)
