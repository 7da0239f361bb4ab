"""What an analysis found: figures for the store, and series over channels, positions or bins."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from results.records import MetricRow
from workers.context import metric
from workers.evaluation.statistics import mean


@dataclass(frozen=True)
class Findings:
    """Metric rows and rows of `curves.parquet`, whose `step` counts channels, positions or bins."""

    rows: list[MetricRow]
    curves: list[dict[str, Any]] = field(default_factory=list)


def layer_rows(task: str, name: str, values: Mapping[str, float | None], unit: str = "") -> list[MetricRow]:
    """One row for each layer, called `name.<layer>`."""
    return [
        metric(task, value, metric=f"{name}.{layer}", unit=unit) for layer, value in sorted(values.items())
    ]


def mean_rows(
    task: str, name: str, values: Mapping[str, float], unit: str = "", *, primary: bool = False
) -> list[MetricRow]:
    """The unweighted mean over layers, and each layer's row."""
    found = mean(list(values.values()))
    whole = metric(task, found.value, metric=name, n=found.n, unit=unit, primary=primary)
    return [whole, *layer_rows(task, name, values, unit)]


def series(name: str, layer: str, values: Iterable[float]) -> list[dict[str, Any]]:
    """The rows of the curve `name/<layer>`, numbered from 0."""
    return [
        {"step": place, "name": f"{name}/{layer}", "value": float(value)}
        for place, value in enumerate(values)
    ]
