"""The wide table, against a plain reckoning in dictionaries."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from results.catalog import catalog
from results.schema import MEMBERS, METRICS
from results.wide import expand, patch, runs
from tests.results.lab import plan

STAGES = [f"s{number}" for number in range(4)]
PIPELINES = st.dictionaries(
    st.sampled_from(["e0", "e1", "e2", "e3"]),
    st.dictionaries(st.sampled_from(["sft", "dpo", "eval"]), st.sampled_from(STAGES), min_size=1),
    min_size=1,
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "stage": st.sampled_from(STAGES),
            "task": st.sampled_from(["mmlu", "bbh", "seed"]),
            "metric": st.sampled_from(["accuracy", "seconds"]),
            "value": st.integers(0, 99).map(float),
            "stderr": st.none() | st.just(0.5),
            "step": st.none() | st.integers(1, 3),
        }
    ),
    max_size=8,
    unique_by=lambda row: (row["stage"], row["task"], row["metric"], row["step"]),
)


def metrics_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows with what they leave out: `accuracy` is every task's primary metric."""
    filled = [{"kind": "evaluate", "primary": row["metric"] == "accuracy", **row} for row in rows]
    return pa.Table.from_pylist(filled, schema=METRICS)


def tables(pipelines: dict[str, dict[str, str]]) -> tuple[pa.Table, pa.Table]:
    record = plan({name: {"seed": 1} for name in pipelines}, pipelines)
    found = catalog([record], dict.fromkeys(pipelines, "done"))
    return found.experiments, found.members


def wide(pipelines: dict[str, dict[str, str]], rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    experiments, members = tables(pipelines)
    return {row["experiment"]: row for row in runs(experiments, members, metrics_table(rows)).to_pylist()}


def known(table: pa.Table) -> list[dict[str, Any]]:
    """The cells that hold something: a patched table may keep a column that nobody fills any more."""
    return [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]


def reckoned(pipeline: dict[str, str], rows: list[dict[str, Any]], task: str, metric: str) -> float | None:
    """The value at the largest step (none is the last of all), of the later stage between equals."""
    found = [
        (math.inf if row["step"] is None else row["step"], position, row["value"])
        for position, stage in enumerate(pipeline.values())
        for row in rows
        if (row["stage"], row["task"], row["metric"]) == (stage, task, metric)
    ]
    return max(found)[2] if found else None


@settings(deadline=None)
@given(PIPELINES, ROWS)
def test_every_cell_is_what_a_plain_reckoning_gives(
    pipelines: dict[str, dict[str, str]], rows: list[dict[str, Any]]
) -> None:
    found = wide(pipelines, rows)
    assert list(found) == list(pipelines)
    for name, pipeline in pipelines.items():
        for task in ("mmlu", "bbh", "seed"):
            column = "seed.accuracy" if task == "seed" else task
            assert found[name].get(column) == reckoned(pipeline, rows, task, "accuracy")
            assert found[name].get(f"{task}.seconds") == reckoned(pipeline, rows, task, "seconds")
        assert found[name]["seed"] == 1


@settings(deadline=None)
@given(PIPELINES, ROWS)
def test_the_join_is_that_of_two_loops(
    pipelines: dict[str, dict[str, str]], rows: list[dict[str, Any]]
) -> None:
    _, members = tables(pipelines)
    left, right = expand(members, metrics_table(rows))
    expected = [
        (member, row)
        for member, stage in enumerate(members["stage"].to_pylist())
        for row, one in enumerate(rows)
        if one["stage"] == stage
    ]
    assert sorted(zip(left.tolist(), right.tolist(), strict=True)) == sorted(expected)
    assert left.tolist() == sorted(left.tolist())


@settings(deadline=None)
@given(PIPELINES, ROWS, ROWS, st.sampled_from(STAGES))
def test_patching_what_changed_gives_the_table_made_anew(
    pipelines: dict[str, dict[str, str]], rows: list[dict[str, Any]], more: list[dict[str, Any]], changed: str
) -> None:
    experiments, members = tables(pipelines)
    before = [row for row in rows if row["stage"] != changed]
    after = before + [row for row in more if row["stage"] == changed]
    old = runs(experiments, members, metrics_table(before))
    concerned = [name for name, pipeline in pipelines.items() if changed in pipeline.values()]
    mask = pa.array([name in concerned for name in pipelines])
    own = pa.array([name in concerned for name in members["experiment"].to_pylist()])
    renewed = runs(experiments.filter(mask), members.filter(own), metrics_table(after))
    found, anew = patch(old, experiments, renewed), runs(experiments, members, metrics_table(after))
    assert set(anew.column_names) <= set(found.column_names)
    assert found.column_names[:7] == anew.column_names[:7]
    assert known(found) == known(anew)


def test_a_patch_takes_every_status_from_today() -> None:
    experiments, members = tables({"e0": {"eval": "s0"}, "e1": {"eval": "s1"}})
    old = runs(experiments, members, metrics_table([]))
    column = experiments.column_names.index("status")
    today = experiments.set_column(column, "status", pa.array(["failed", "running"]))
    assert patch(old, today, old.slice(0, 0))["status"].to_pylist() == ["failed", "running"]


def test_an_error_has_its_own_column_only_where_there_is_one() -> None:
    rows = [
        {"stage": "s0", "task": "mmlu", "metric": "accuracy", "value": 0.5, "stderr": 0.1, "step": None},
        {"stage": "s0", "task": "bbh", "metric": "accuracy", "value": 0.5, "stderr": None, "step": None},
    ]
    found = wide({"e0": {"eval": "s0"}}, rows)["e0"]
    assert found["mmlu.stderr"] == 0.1
    assert "bbh.stderr" not in found


def test_a_value_that_is_missing_is_null_and_not_nan() -> None:
    rows = [
        {"stage": "s0", "task": "mmlu", "metric": "accuracy", "value": None, "stderr": None, "step": None}
    ]
    experiments, members = tables({"e0": {"eval": "s0"}, "e1": {"eval": "s1"}})
    column = runs(experiments, members, metrics_table(rows))["mmlu"]
    assert column.null_count == 2
    assert not any(isinstance(value, float) and np.isnan(value) for value in column.to_pylist())


def test_tasks_whose_long_names_are_equal_lose_no_figure() -> None:
    rows = [
        {
            "stage": "s0",
            "task": "mmlu",
            "metric": "stem",
            "value": 11.0,
            "stderr": None,
            "step": None,
            "primary": False,
        },
        {
            "stage": "s1",
            "task": "mmlu.stem",
            "metric": "accuracy",
            "value": 12.0,
            "stderr": None,
            "step": None,
        },
    ]
    found = wide({"e0": {"eval": "s0"}, "e1": {"eval": "s1"}}, rows)
    assert 11.0 in found["e0"].values() and 12.0 in found["e1"].values()


def test_without_members_or_metrics_there_are_no_pairs() -> None:
    for members, rows in (
        (MEMBERS.empty_table(), [{"stage": "s0", "value": 1.0, "metric": "a"}]),
        (None, []),
    ):
        left, right = expand(
            tables({"e0": {"eval": "s0"}})[1] if members is None else members, metrics_table(rows)
        )
        assert len(left) == len(right) == 0
