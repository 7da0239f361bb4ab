"""Workspaces of any study made by hand: experiments of one trained stage each, through the real writers."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from results.records import MetricRow
from results.schema import write_curves
from results.studies.cells import NONE, named, shown
from tests.results.lab import Lab, attempt

Curve = Mapping[str, Mapping[int, float]]
"""Logged values by name and step."""


def noise(name: str) -> float:
    """A standard normal number for a name, the same in every process."""
    return float(np.random.default_rng(list(name.encode())).standard_normal())


def plan_runs(
    lab: Lab,
    study: str,
    runs: Iterable[tuple[tuple[str, ...], int | None]],
    roles: Iterable[str],
    keep: Iterable[str] = (),
    **facts: Any,
) -> list[str]:
    """Plan (cell, seed) pairs with a stage for each role; a level "none" is null unless its factor is in `keep`."""
    levels: dict[str, dict[str, Any]] = {}
    for cell, seed in runs:
        name = f"{shown(cell)}/s{seed}" + (f"/{facts['preset']}" if "preset" in facts else "")
        own = {
            factor: None if level == NONE and factor not in keep else level
            for factor, level in named(cell).items()
        }
        levels[name] = {**own, "seed": seed}
    pipelines = {name: {role: f"{name}/{role}" for role in roles} for name in levels}
    lab.plan(levels, pipelines, study=study, **facts)
    return list(levels)


def finish(
    lab: Lab,
    stage: str,
    rows: Iterable[MetricRow],
    curves: Curve | None = None,
    outcome: str = "done",
) -> None:
    """Commit a stage with its figures and curves, and note the end of its attempt."""
    token = lab.claim(stage)
    if curves is not None:
        output = lab.workspace.output(stage, token)
        output.mkdir(parents=True)
        logged = [
            {"step": step, "name": name, "value": value}
            for name, line in curves.items()
            for step, value in line.items()
        ]
        write_curves(output / "curves.parquet", logged)
    lab.publish(stage, token, list(rows), outcome)
    lab.journal.ended(attempt(stage, token, outcome))


def cells_of(text: str, *labels: str) -> list[str]:
    """The cells of the row of a Markdown table that starts with `labels`."""
    for line in text.splitlines():
        cells = [part.strip() for part in line.strip("|").split("|")]
        if cells[: len(labels)] == list(labels):
            return cells[len(labels) :]
    raise AssertionError(f"no row {labels} in:\n{text}")


__all__ = ["cells_of", "finish", "plan_runs"]
