"""Workspaces of the alignment study made by hand: its cells, with figures as a function says, through real writers."""

from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import Any

from results.records import MetricRow
from results.schema import write_samples
from results.studies.alignment.cells import Cell
from results.studies.alignment.scores import Scores, store_scores
from results.studies.measurements import read_measurements
from results.studies.published import published_rows
from tests.results.lab import Lab, attempt
from tests.results.studies.workspaces import noise
from workers.context import metric

PAIR = ("mistral-7b", "mistral-7b-instruct")
CELLS = list(dict.fromkeys(Cell.of(row) for row in published_rows("alignment")))
"""The 64 cells of which the paper prints figures."""

Value = Callable[[Cell, int, str], float | None]


def truth(cell: Cell, seed: int, task: str) -> float:
    """A world with clear effects, in units of two points of accuracy, and a little noise for each run.

    BeaverTails +4 for SFT and +2 for DPO; DPO +1 on instruction-tuned models and -1 on pre-trained ones; merging
    +4 by Slerp, +8 by DARE-TIES, +4 more of all four; mixing -6. Preference and adapter do nothing.
    """
    level = {"mmlu": 0.5, "bbh": 0.4, "alpacaeval": 0.05, "rt": 1.0}[task]
    unit = {"alpacaeval": 0.01, "rt": 0.5}.get(task, 0.02)
    instruct = cell.model in ("vicuna-7b-v1.3", "mistral-7b-instruct")
    effect = 2.0 * (cell.dataset == "beavertails") * (2 if cell.method == "sft" else 1)
    effect += {"dpo": 1.0 if instruct else -1.0, "sft+dpo": 4.0}.get(cell.method, 0.0)
    effect -= 6.0 if cell.variant == "mixture" else 0.0
    effect += 8.0 if cell.variant == "merge-dare-ties" else 4.0 if cell.variant == "merge-slerp" else 0.0
    return level + unit * (effect + 0.1 * noise(f"{cell}/{seed}/{task}"))


def metric_rows(
    cell: Cell, seed: int, tasks: Iterable[str], value: Value, step: int | None
) -> list[MetricRow]:
    found = [(task, value(cell, seed, task)) for task in tasks]
    return [
        metric(task, number, metric="figure", stderr=0.01, n=100, step=step, primary=True)
        for task, number in found
        if number is not None
    ]


def plan_cells(
    lab: Lab, runs: Iterable[tuple[Cell, int]], steps: tuple[int, ...] = (), **facts: Any
) -> list[str]:
    """Plan an evaluation of each (cell, seed), and one for each of `steps`; return the names of experiments."""
    levels, pipelines = {}, {}
    for cell, seed in runs:
        name = f"{cell}/s{seed}" + (f"/{facts['scale']}" if "scale" in facts else "")
        start = cell.variant == "original"
        levels[name] = {**without_none(cell), "seed": None if start else seed}
        roles = [f"curve@{step}" for step in steps] if steps and not start else ["evaluate"]
        pipelines[name] = {role: f"{name}/{role}" for role in roles}
    lab.plan(levels, pipelines, **facts)
    return list(levels)


def without_none(cell: Cell) -> dict[str, str | None]:
    return {
        factor: None if level == "none" and factor != "method" else level
        for factor, level in cell._asdict().items()
    }


def study(
    root: Path,
    value: Value = truth,
    cells: Iterable[Cell] = CELLS,
    seeds: Iterable[int] = (0, 1, 2),
    tasks: Iterable[str] = ("mmlu", "bbh", "alpacaeval", "rt"),
    skip: Iterable[tuple[Cell, int]] = (),
    **facts: Any,
) -> Lab:
    """A finished workspace: every cell with every seed (an original once), except those in `skip`."""
    lab = Lab.at(root)
    runs = [(cell, seed) for cell, seed in product(cells, seeds) if cell.variant != "original" or seed == 0]
    for (cell, seed), name in zip(runs, plan_cells(lab, runs, **facts), strict=True):
        if (cell, seed) not in set(skip):
            lab.run(f"{name}/evaluate", *metric_rows(cell, seed, tasks, value, None))
    return lab


def scores_of(lab: Lab) -> Scores:
    return store_scores(read_measurements(lab.workspace, "alignment"))


def answered(lab: Lab, name: str, rows: list[dict[str, Any]], role: str = "evaluate") -> None:
    """Finish a planned stage with samples."""
    stage = f"{name}/{role}"
    token = lab.claim(stage)
    output = lab.workspace.output(stage, token)
    output.mkdir(parents=True)
    write_samples(output / "samples.parquet", rows)
    lab.publish(stage, token, [])
    lab.journal.ended(attempt(stage, token, "done"))


__all__ = ["CELLS", "PAIR", "answered", "metric_rows", "noise", "plan_cells", "scores_of", "study", "truth"]
