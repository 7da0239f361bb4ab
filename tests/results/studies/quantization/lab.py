"""Workspaces of the quantization study made by hand: arms with losses as a function says."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from results.records import MetricRow
from results.studies.measurements import read_measurements
from results.studies.quantization.cells import Cell, arm
from results.studies.quantization.scores import Scores, store_scores
from tests.results.lab import Lab
from tests.results.studies.workspaces import finish, noise, plan_runs
from workers.context import metric

SEEDS = (42, 1337, 2024)
TIED, UNTIED = 1000, 1500
WORSE = {"w8_row": 0.002, "w8_tensor": 0.003, "v8_row": 0.4, "v8_tensor": 0.6, "w8a8": 0.05}


def world(cell: Cell, seed: int) -> float:
    """8-bit weights within 0.003 nats of the baseline, the second moment 0.4 above; seeds differ by far more."""
    loss = 1.4 + 0.1 * SEEDS.index(seed) + WORSE.get(cell.arm, 0.0)
    return loss + 0.0005 * noise(f"{cell.arm}/{seed}")


def pretrained(
    loss: float | None, steps: int = 250, parameters: int = TIED, **others: float
) -> list[MetricRow]:
    """The figures of a training that ended."""
    rows = [
        metric("pretrain", loss, metric="validation_loss", stderr=0.01, n=96, step=steps, unit="nats"),
        metric("pretrain", parameters, metric="trainable_parameters", unit="parameters"),
    ]
    return [*rows, *(metric("pretrain", value, metric=name) for name, value in others.items())]


def study(
    root: Path,
    arms: Iterable[str | Cell],
    loss: Callable[[Cell, int], float] = world,
    seeds: Iterable[int] = SEEDS,
    diverged: Mapping[tuple[str, int], int] | None = None,
    more: Callable[[Cell, int], list[MetricRow]] = lambda cell, seed: [],
    steps: int = 250,
    parameters: Mapping[str, int] | None = None,
    **facts: Any,
) -> Lab:
    """A finished workspace of these arms; those in `diverged` came to an end at a step."""
    lab, broken = Lab.at(root), diverged or {}
    cells = [one if isinstance(one, Cell) else arm(one) for one in arms]
    runs = [(cell, seed) for cell in cells for seed in seeds]
    for (cell, seed), name in zip(
        runs, plan_runs(lab, "quantization", runs, ["pretrain"], **facts), strict=True
    ):
        size = (parameters or {}).get(cell.arm, TIED)
        end = broken.get((cell.arm, seed))
        value = loss(cell, seed)
        if end is None:
            curve = {"validation_loss": {50 * part * steps // 250: value + 5 - part for part in range(1, 6)}}
            finish(lab, f"{name}/pretrain", [*pretrained(value, steps, size), *more(cell, seed)], curve)
        else:
            rows = pretrained(5.0, end // 2, size, divergence_step=end)
            finish(lab, f"{name}/pretrain", rows, outcome="diverged")
    return lab


def scores_of(lab: Lab, curves: bool = False) -> Scores:
    return store_scores(read_measurements(lab.workspace, "quantization"), curves)


__all__ = ["SEEDS", "TIED", "UNTIED", "pretrained", "scores_of", "study", "world"]
