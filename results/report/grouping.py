"""A study in one workspace as the explorer needs it: factors and metrics in columns, a row an experiment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from results.report.figures import Metric, metric_columns
from results.report.packing import Chunks, codes, reals
from results.report.source import Source
from results.schema import FIXED_COLUMNS

VARYING = ("scale", "preset")
"""Columns of every experiment that are factors where a workspace holds several of their levels."""

PLAN = ("grid", "scale", "preset")


@dataclass(frozen=True)
class Group:
    """The experiments of one study in one workspace, and every figure of them."""

    source: Source
    study: str
    experiments: pa.Table
    metrics: list[Metric]

    @classmethod
    def of(cls, source: Source, study: str) -> "Group":
        """Read the group of `study`."""
        experiments = source.of_study(study)
        return cls(source, study, experiments, metric_columns(experiments, source.members, source.metrics))

    @property
    def factors(self) -> list[str]:
        """The columns whose levels differ between experiments, or are the study's own."""
        table = self.experiments
        own = [name for name in table.column_names if name not in FIXED_COLUMNS]
        varying = [name for name in VARYING if len(table[name].unique()) > 1]
        return [name for name in [*own, *varying] if table[name].null_count < table.num_rows]

    def as_index(self, chunks: Chunks) -> dict[str, Any]:
        """What the page must know at once; the columns themselves go to `chunks`."""
        table = self.experiments
        plans, plan_codes = _coded([tuple(row.values()) for row in table.select(PLAN).to_pylist()])
        statuses, status_codes = _coded(table["status"].to_pylist())
        return {
            "title": self.study,
            "workspace": self.source.name,
            "count": table.num_rows,
            "ids": chunks.add_json(table["experiment"].to_pylist()),
            "names": chunks.add_json(table["name"].to_pylist()),
            "plans": {"levels": plans, **_column(chunks, plan_codes)},
            "status": {"levels": statuses, **_column(chunks, status_codes)},
            "factors": [self._factor(chunks, name) for name in self.factors],
            "metrics": [_metric(chunks, one) for one in self.metrics],
        }

    def _factor(self, chunks: Chunks, name: str) -> dict[str, Any]:
        """Levels in their own order (numbers) or in the grid's (words), and a code for each experiment; 0 is none."""
        column = self.experiments[name]
        levels = [level for level in column.unique().to_pylist() if level is not None]
        if not pa.types.is_string(column.type):
            levels.sort()
        found = pc.index_in(column, value_set=pa.array(levels, column.type)).fill_null(-1).to_numpy() + 1
        return {"name": name, "levels": levels, **_column(chunks, found)}


def _metric(chunks: Chunks, one: Metric) -> dict[str, Any]:
    errors = chunks.add(reals(one.errors)) if np.isfinite(one.errors).any() else None
    return {
        "name": one.name,
        "task": one.task,
        "metric": one.metric,
        "unit": one.unit,
        "primary": one.primary,
        "own": one.task == one.kind,
        "items": one.items,
        "known": one.known,
        "values": chunks.add(reals(one.values)),
        "errors": errors,
    }


def _column(chunks: Chunks, found: np.ndarray) -> dict[str, int]:
    content, width = codes(found)
    return {"chunk": chunks.add(content), "width": width}


def _coded(values: Sequence[Any]) -> tuple[list[Any], np.ndarray]:
    """The distinct values in the order of their first appearance, and the number of each value among them."""
    numbers: dict[Any, int] = {}
    found = [numbers.setdefault(value, len(numbers)) for value in values]
    return list(numbers), np.array(found, np.int64)
