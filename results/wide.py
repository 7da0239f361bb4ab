"""Table `runs`: one row per experiment, factors and metrics side by side."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from results.schema import FIXED_COLUMNS

_LEFT_OUT = ("grid", "stages")


def expand(members: pa.Table, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Join on `stage`: row numbers into `members` and into `table`, one pair per match.

    A shared stage's rows appear once for each member; pairs are in the order of `members`.
    """
    encoded = table["stage"].combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(encoded.dictionary) + 1))
    found = pc.index_in(members["stage"].combine_chunks(), value_set=encoded.dictionary)
    member_rows = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False))
    stages = found.drop_null().to_numpy(zero_copy_only=False)
    counts = bounds[stages + 1] - bounds[stages]
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(member_rows, counts), order[np.repeat(bounds[stages], counts) + within]


def runs(experiments: pa.Table, members: pa.Table, metrics: pa.Table) -> pa.Table:
    """The wide table, in the order of `experiments`.

    A task's primary metric stands under the task's name, its standard error as `task.stderr`, others as
    `task.metric`; a task whose name a factor has keeps the long form. Of several figures the one at the
    largest step counts, no step is the last of all, and between equals the later stage of the pipeline.
    """
    left = experiments.drop_columns(list(_LEFT_OUT))
    # The figures of stages that no experiment shows would become columns without a value.
    metrics = metrics.filter(pc.is_in(metrics["stage"], value_set=members["stage"]))
    member_rows, metric_rows = expand(members, metrics)
    owners = pc.index_in(members["experiment"], value_set=experiments["experiment"]).to_numpy()
    positions = members["position"].to_numpy()[member_rows]
    steps = pc.cast(metrics["step"], pa.float64()).to_numpy()
    steps = np.where(np.isnan(steps), np.inf, steps)[metric_rows]
    order = np.lexsort((positions, steps))
    rows, taken = owners[member_rows[order]], metric_rows[order]
    codes, names = _columns(metrics, frozenset(left.column_names) | FIXED_COLUMNS)
    values = _pivot(rows, codes[taken], _numbers(metrics, "value")[taken], (left.num_rows, len(names)))
    errors = _pivot(rows, codes[taken], _numbers(metrics, "stderr")[taken], values.shape)
    columns: dict[str, np.ndarray] = {}
    for column, (name, _) in enumerate(names):
        figures, before = values[:, column], columns.get(name)
        # A task called `mmlu.stem` shares its column with the metric `stem` of `mmlu`.
        columns[name] = figures if before is None else np.where(np.isnan(before), figures, before)
    for column, (_, error) in enumerate(names):
        if error is not None and not np.isnan(errors[:, column]).all():
            columns.setdefault(error, errors[:, column])
    return _side_by_side(left, columns)


def patch(old: pa.Table, experiments: pa.Table, renewed: pa.Table) -> pa.Table:
    """`old` brought to `experiments`: rows of `renewed` replace theirs, and every status is the new one."""
    kept = old.filter(pc.invert(pc.is_in(old["experiment"], value_set=renewed["experiment"])))
    both = pa.concat_tables([kept, renewed], promote_options="permissive")
    both = both.take(pc.index_in(experiments["experiment"], value_set=both["experiment"]))
    both = both.set_column(both.column_names.index("status"), "status", experiments["status"])
    first = [name for name in experiments.column_names if name not in _LEFT_OUT]
    return both.select([*first, *sorted(set(both.column_names) - set(first))])


def _columns(metrics: pa.Table, taken: frozenset[str]) -> tuple[np.ndarray, list[tuple[str, str | None]]]:
    """A code for each metric row, and for each code the names of its value's and its error's columns."""
    task = metrics["task"].combine_chunks().dictionary_encode()
    metric = metrics["metric"].combine_chunks().dictionary_encode()
    primary = metrics["primary"].fill_null(False).to_numpy().astype(np.int64)
    width = 2 * max(len(metric.dictionary), 1)
    packed = task.indices.to_numpy(zero_copy_only=False).astype(np.int64) * width
    packed += metric.indices.to_numpy(zero_copy_only=False).astype(np.int64) * 2 + primary
    present, inverse = np.unique(packed, return_inverse=True)
    keys = [
        (task.dictionary[code // width].as_py(), metric.dictionary[code % width // 2].as_py(), bool(code % 2))
        for code in present.tolist()
    ]
    names = [_names(*key, taken) for key in keys]
    distinct = list(dict.fromkeys(names))
    remap = np.array([distinct.index(name) for name in names], np.int64)
    return (remap[inverse] if names else inverse), distinct


def _names(task: str, metric: str, primary: bool, taken: frozenset[str]) -> tuple[str, str | None]:
    if primary:
        return (f"{task}.{metric}" if task in taken else task), f"{task}.stderr"
    return f"{task}.{metric}", None


def _numbers(metrics: pa.Table, name: str) -> np.ndarray:
    return np.asarray(metrics[name].to_numpy(), np.float64)


def _pivot(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A matrix of `shape`, NaN where there is no value; of repeated cells the last one stands."""
    matrix = np.full(shape, np.nan)
    matrix[rows, columns] = values
    return matrix


def _side_by_side(left: pa.Table, columns: dict[str, np.ndarray]) -> pa.Table:
    for name in sorted(set(columns) - set(left.column_names)):
        left = left.append_column(name, pa.array(columns[name], from_pandas=True))
    return left
