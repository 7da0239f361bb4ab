"""The figures of a study's experiments as columns: one number, one error and one count for each."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from results.schema import FIXED_COLUMNS
from results.wide import expand


@dataclass(frozen=True)
class Metric:
    """A column: `values` and their standard errors in the order of the experiments, NaN where unknown.

    `name` is its column in `results.load`. `items` is the least number of items behind a value, None where the stages
    do not say.
    """

    name: str
    task: str
    metric: str
    unit: str
    primary: bool
    kind: str
    items: int | None
    values: np.ndarray
    errors: np.ndarray

    @property
    def known(self) -> int:
        """How many experiments have a value."""
        return int(np.isfinite(self.values).sum())


def metric_columns(experiments: pa.Table, members: pa.Table, metrics: pa.Table) -> list[Metric]:
    """Every metric that some experiment has: primary ones first, benchmarks before what training itself reports.

    As in `results.load`, of several figures the one at the largest step counts, no step is the last of all, and
    between equals the later stage of the pipeline.
    """
    members = members.filter(pc.is_in(members["experiment"], value_set=experiments["experiment"]))
    metrics = metrics.filter(pc.is_in(metrics["stage"], value_set=members["stage"]))
    if not metrics.num_rows:
        return []
    member_rows, metric_rows = expand(members, metrics)
    steps = pc.cast(metrics["step"], pa.float64()).to_numpy()
    order = np.lexsort(
        (members["position"].to_numpy()[member_rows], np.where(np.isnan(steps), np.inf, steps)[metric_rows])
    )
    owners = pc.index_in(members["experiment"], value_set=experiments["experiment"]).to_numpy()
    rows, taken = owners[member_rows[order]], metric_rows[order]
    codes, first = _codes(metrics)
    by_column = np.argsort(codes[taken], kind="stable")
    bounds = np.searchsorted(codes[taken][by_column], np.arange(len(first) + 1))
    numbers = {name: _numbers(metrics, name) for name in ("value", "stderr", "n")}
    found = [
        _column(experiments, metrics, numbers, (rows[part], taken[part]), int(example))
        for example, part in zip(first, np.split(by_column, bounds[1:-1]), strict=True)
        if len(part)
    ]
    return sorted((one for one in found if one.known), key=_rank)


def _codes(metrics: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """A number for each row's pair of task and metric, and for each number a row that has it."""
    encoded = [metrics[name].combine_chunks().dictionary_encode() for name in ("task", "metric")]
    task, metric = (one.indices.to_numpy(zero_copy_only=False).astype(np.int64) for one in encoded)
    _, first, codes = np.unique(
        task * len(encoded[1].dictionary) + metric, return_index=True, return_inverse=True
    )
    return codes, first


def _column(
    experiments: pa.Table,
    metrics: pa.Table,
    numbers: dict[str, np.ndarray],
    pairs: tuple[np.ndarray, np.ndarray],
    example: int,
) -> Metric:
    """The column of the pairs (row of `experiments`, row of `metrics`); `example` is one of the latter."""
    rows, taken = pairs
    columns = {name: np.full(experiments.num_rows, np.nan) for name in numbers}
    for name, column in columns.items():
        column[rows] = numbers[name][taken]
    task, metric, unit, kind = (
        str(metrics[name][example].as_py() or "") for name in ("task", "metric", "unit", "kind")
    )
    primary = bool(metrics["primary"][example].as_py())
    alone = primary and task not in experiments.column_names and task not in FIXED_COLUMNS
    counts = columns["n"][np.isfinite(columns["n"])]
    return Metric(
        name=task if alone else f"{task}.{metric}",
        task=task,
        metric=metric,
        unit=unit,
        primary=primary,
        kind=kind,
        items=int(counts.min()) if counts.size else None,
        values=columns["value"],
        errors=columns["stderr"],
    )


def _numbers(metrics: pa.Table, name: str) -> np.ndarray:
    return np.asarray(pc.cast(metrics[name], pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def _rank(one: Metric) -> tuple[bool, bool, str]:
    return (not one.primary, one.task == one.kind, one.name)
