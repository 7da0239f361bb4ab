"""How far each study of a workspace is: experiments by status, in all and by factor level."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from results.report.grouping import Group

STATUSES = ("done", "diverged", "stopped", "running", "pending", "held", "blocked", "failed")
ENDED = ("done", "diverged", "stopped")
"""Statuses of experiments that have their result."""

MOST_LEVELS = 40


def completeness(group: Group) -> dict[str, Any]:
    """Counts by status, the plans that the experiments come from, and a row for each level of each factor."""
    table = group.experiments
    return {
        "study": group.study,
        "workspace": group.source.name,
        "experiments": table.num_rows,
        "statuses": _by_status(table),
        "ended": sum(count for status, count in _by_status(table) if status in ENDED),
        "plans": _plans(table),
        "factors": [
            {"name": name, "levels": _levels(table, name)}
            for name in group.factors
            if len(table[name].unique()) <= MOST_LEVELS
        ],
    }


def _by_status(table: pa.Table) -> list[tuple[str, int]]:
    counts = {row["values"]: row["counts"] for row in table["status"].value_counts().to_pylist()}
    return [(status, counts[status]) for status in STATUSES if counts.get(status)]


def _plans(table: pa.Table) -> list[dict[str, Any]]:
    keys = ["grid", "scale", "preset"]
    counted = table.select([*keys, "experiment"]).group_by(keys).aggregate([("experiment", "count")])
    rows = counted.to_pylist()
    return sorted(rows, key=lambda row: tuple(row[key] for key in keys))


def _levels(table: pa.Table, factor: str) -> list[dict[str, Any]]:
    """Of each level how many experiments have it and how many of them have ended."""
    counted = table.select([factor, "status", "experiment"]).group_by([factor, "status"])
    rows = counted.aggregate([("experiment", "count")]).to_pylist()
    found: dict[Any, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: _order(row[factor])):
        one = found.setdefault(row[factor], {"level": row[factor], "ended": 0, "experiments": 0})
        one["experiments"] += row["experiment_count"]
        one["ended"] += row["experiment_count"] if row["status"] in ENDED else 0
    return list(found.values())


def _order(level: Any) -> tuple[bool, bool, Any]:
    """Numbers by size, words by alphabet, none last."""
    return (level is None, isinstance(level, str), level if level is not None else "")


def totals(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Experiments of all studies and workspaces by status."""
    counts: dict[str, int] = {}
    for part in parts:
        for status, count in part["statuses"]:
            counts[status] = counts.get(status, 0) + count
    return {
        "experiments": sum(counts.values()),
        "statuses": [(status, counts[status]) for status in STATUSES if status in counts],
    }
