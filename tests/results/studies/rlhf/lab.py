"""Workspaces of the LoRA PPO study made by hand: arms with checkpoints judged and training logged."""

from collections.abc import Callable, Iterable, Sequence
from math import exp
from pathlib import Path
from typing import Any

from results.records import MetricRow
from results.studies.measurements import read_measurements
from results.studies.rlhf.cells import Cell, arm
from results.studies.rlhf.scores import Scores, store_scores
from tests.results.lab import Lab
from tests.results.studies.workspaces import Curve, finish, noise, plan_runs
from workers.context import metric

SEEDS = (0, 1, 2)
CHECKPOINTS = (10, 20, 30, 40, 50)
ARMS = (arm("kl"), arm("kl", "strong"), arm("jensen_shannon"), arm("none"), arm("dropout_only"))
SPEED = {"strong": 0.004, "weak": 0.01, "none": 0.02}
"""True KL a step."""


def true_kl(cell: Cell, step: int) -> float:
    return SPEED[cell.coefficient] * step * (0.5 if cell.regularizer == "dropout_only" else 1)


def win(cell: Cell, seed: int, step: int) -> float:
    """A share that rises fast and then falls a little; Jensen-Shannon is five points above the others."""
    above = {"jensen_shannon": 0.05, "dropout_only": 0.01}.get(cell.regularizer, 0.0)
    share = 0.3 + above + 0.2 * (1 - ((step - 32) / 32) ** 2) + 0.001 * seed
    return share + 0.0005 * noise(f"{cell}/{seed}/{step}")


def logged(cell: Cell, seed: int) -> Curve:
    steps = range(1, 51)
    return {
        "score": {step: 3 - 4 * exp(-(step - 1) / 8) + 0.01 * seed * step for step in steps},
        "true_kl": {step: true_kl(cell, step) for step in steps},
        "penalty": {step: true_kl(cell, step) / 2 for step in steps},
    }


def trained(cell: Cell, seed: int) -> list[MetricRow]:
    """What a PPO stage leaves beside its curves."""
    return [
        metric(
            "true_kl",
            true_kl(cell, 50) + 0.001 * noise(f"{cell}/{seed}"),
            metric="value",
            step=50,
            primary=True,
        ),
        metric("score", 2.9, metric="value", step=50, primary=True),
        metric("response_length", 12.0, metric="value", step=50, primary=True),
        metric("ppo", 24_000, metric="trainable_parameters"),
    ]


def judged(share: float, step: int | None, task: str = "win_rate") -> list[MetricRow]:
    return [
        metric(task, share, metric="win_rate", stderr=0.02, n=48, step=step, primary=True),
        metric(task, share - 0.01, metric="win_rate_legacy", stderr=0.02, n=48, step=step),
        metric(task, 3, metric="ties", n=48, step=step),
        metric(task, 48, metric="judged", n=48, step=step),
    ]


def factual(score: float, facts: float, step: int | None, task: str = "factscore") -> list[MetricRow]:
    return [
        metric(task, score, metric="factscore", stderr=0.02, n=40, step=step, primary=True),
        metric(task, facts, metric="facts", stderr=0.1, n=40, step=step),
    ]


def study(
    root: Path | Lab,
    cells: Iterable[Cell] = ARMS,
    seeds: Sequence[int | None] = SEEDS,
    wins: Callable[[Cell, int, int], float] = win,
    facts: bool = False,
    **plan: Any,
) -> Lab:
    """A finished workspace of these arms, every checkpoint judged; the supervised model has neither seed nor steps."""
    lab = root if isinstance(root, Lab) else Lab.at(root)
    for cell in cells:
        _arm(lab, cell, [None] if cell.method == "sft" else seeds, wins, facts, plan)
    return lab


def _arm(lab: Lab, cell: Cell, seeds: Sequence[int | None], wins: Any, facts: bool, plan: Any) -> None:
    trains = cell.method == "ppo"
    steps: Sequence[int | None] = CHECKPOINTS if trains else [None]
    roles = [*(["ppo"] if trains else []), *(f"win@{step}" for step in steps), *(["facts"] if facts else [])]
    keep = ("regularizer",) if trains else ()
    names = plan_runs(lab, "rlhf", [(cell, seed) for seed in seeds], roles, keep, **plan)
    for name, seed in zip(names, seeds, strict=True):
        if trains:
            finish(lab, f"{name}/ppo", trained(cell, seed or 0), logged(cell, seed or 0))
        for step in steps:
            share = wins(cell, seed or 0, step or 0) if trains else 0.31
            finish(lab, f"{name}/win@{step}", judged(share, step))
        if facts:
            before = factual(0.8, 6.0, None, "factscore_start")
            after = factual(0.6 + 0.001 * noise(name), 9.0, 50)
            finish(lab, f"{name}/facts", [*after, *before])


def scores_of(lab: Lab, curves: bool = True) -> Scores:
    return store_scores(read_measurements(lab.workspace, "rlhf"), curves)


__all__ = ["ARMS", "CHECKPOINTS", "SEEDS", "factual", "judged", "scores_of", "study", "true_kl", "win"]
