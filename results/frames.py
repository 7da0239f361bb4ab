"""The store as pandas frames: the newest generation and everything committed since, each row once."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pyarrow as pa

from results.collector import collector_paused
from results.files import WorkspaceError
from results.layout import Workspace
from results.snapshot import Snapshot, take, take_from_truth
from results.wide import expand

Place = str | Path | Workspace
Answer = TypeVar("Answer")

_TRIES = 5


def load(workspace: Place = "runs", where: str | None = None) -> pd.DataFrame:
    """One row per experiment: factors, status, and each task's metrics."""
    return _chosen(_frame(ask(workspace, Snapshot.runs)), where)


def experiments(workspace: Place = "runs", where: str | None = None) -> pd.DataFrame:
    """One row per experiment with its factors, status and stages."""
    return _chosen(_frame(ask(workspace, lambda snapshot: snapshot.catalog.experiments)), where)


def metrics(workspace: Place = "runs", where: str | None = None) -> pd.DataFrame:
    """One row per figure and experiment that has its stage."""
    return _joined(workspace, "metrics", where)


def curves(workspace: Place = "runs", where: str | None = None) -> pd.DataFrame:
    """One row per logged value and experiment that has its stage."""
    return _joined(workspace, "curves", where)


def samples(workspace: Place = "runs", where: str | None = None) -> pd.DataFrame:
    """One row per sample and experiment that has its stage."""
    return _joined(workspace, "samples", where)


def attempts(workspace: Place = "runs", where: str | None = None) -> pd.DataFrame:
    """One row per ended attempt at a stage."""
    return _chosen(_frame(ask(workspace, lambda snapshot: snapshot.table("attempts"))), where)


def _joined(workspace: Place, name: str, where: str | None) -> pd.DataFrame:
    return _chosen(_frame(ask(workspace, lambda snapshot: _with_experiments(snapshot, name))), where)


def _with_experiments(snapshot: Snapshot, name: str) -> pa.Table:
    members, table = snapshot.catalog.members, snapshot.table(name)
    member_rows, rows = expand(members, table)
    owners = members.select(["experiment", "study", "role"]).take(pa.array(member_rows))
    found = table.take(pa.array(rows))
    columns = dict(zip(owners.column_names, owners.columns, strict=True))
    return pa.table({**columns, **dict(zip(found.column_names, found.columns, strict=True))})


def ask(workspace: Place, question: Callable[[Snapshot], Answer]) -> Answer:
    """Put `question` to a snapshot; when its generation is swept away while it is read, ask a newer one.

    The question may so be put several times: it must leave nothing behind but its answer.

    A damaged generation is passed over: the answer then comes, slowly, from the stages themselves.
    """
    place = workspace if isinstance(workspace, Workspace) else Workspace(Path(workspace))
    if not place.root.is_dir():
        raise WorkspaceError(f"{place.root}: no such workspace")
    for _ in range(_TRIES):
        try:
            with collector_paused():
                return question(take(place))
        except FileNotFoundError:
            continue
        except WorkspaceError as damage:
            warnings.warn(f"{damage}; read from the stages instead, slowly", stacklevel=4)
            break
    return question(take_from_truth(place))


def _frame(table: pa.Table) -> pd.DataFrame:
    """`table` in pandas: text as `str`, whole numbers with gaps as `Int64`."""
    gaps = [
        column.name
        for column in table.schema
        if pa.types.is_integer(column.type) and table[column.name].null_count
    ]
    frame: pd.DataFrame = table.to_pandas(split_blocks=True)
    for name in gaps:
        frame[name] = table[name].to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return frame


def _chosen(frame: pd.DataFrame, where: str | None) -> pd.DataFrame:
    return frame if where is None else frame.query(where, engine="python").reset_index(drop=True)
