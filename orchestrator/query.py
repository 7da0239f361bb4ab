"""Queries on the results store for the command line: select, average, choose metrics."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import unknown
from orchestrator.selection import chooser
from results.files import WorkspaceError

if TYPE_CHECKING:
    import pandas

FIXED = ("experiment", "name", "study", "scale", "preset", "status")


def query(workspace: Path, where: str | None, by: list[str], metrics: list[str]) -> "pandas.DataFrame":
    """The rows of `results.load` that `where` holds for, averaged by the factors `by`, with only `metrics`.

    An average comes with `n`, the number of experiments that have any of the figures.

    Raises:
        WorkspaceError: a factor or metric that does not exist, or a wrong expression.
    """
    import results

    frame = results.load(workspace)
    if where is not None:
        frame = select(frame, where)
    names = [str(name) for name in frame.columns]
    _check("metric", metrics, names, [name for name in names if "." not in name and name not in FIXED])
    _check("factor", by, names, [name for name in names if frame[name].dtype.kind != "f" and "." not in name])
    if by:
        return _average(frame, by, metrics)
    return frame[["experiment", "name", "status", *metrics]] if metrics else frame


def select(frame: "pandas.DataFrame", where: str) -> "pandas.DataFrame":
    """The rows that `where` holds for.

    Raises:
        GridError: the expression is wrong.
    """
    rows: list[dict[Any, Any]] = frame.astype(object).where(frame.notna(), None).to_dict("records")
    numbers = [name for name in frame.select_dtypes("number").columns if name.isidentifier()]
    chosen = chooser(where, rows, numbers)
    return frame[[chosen(row) for row in rows]]


def _average(frame: "pandas.DataFrame", by: list[str], metrics: list[str]) -> "pandas.DataFrame":
    numbers = metrics or [name for name in frame.select_dtypes("number").columns if _is_primary(name, by)]
    for name in metrics:
        if frame[name].dtype.kind not in "fiub" or name in by:
            raise WorkspaceError(
                f"{name!r} cannot be averaged by {', '.join(by)}: it is not a figure of its own"
            )
    frame = frame[frame[numbers].notna().any(axis=1)] if numbers else frame
    groups = frame.groupby(by, dropna=False, observed=True)
    averaged = groups[numbers].mean()
    averaged.insert(0, "n", groups.size())
    return averaged.reset_index()


def _is_primary(name: str, by: list[str]) -> bool:
    return "." not in name and name not in by and name != "seed"


def _check(what: str, names: list[str], columns: list[str], offered: list[str]) -> None:
    """A name must be a column; the message offers the short list, not every sub-metric."""
    for name in names:
        if name not in columns:
            raise WorkspaceError(unknown(what, name, offered))
