"""What training took: computing time of a PPO step and peak memory, from the attempts of a store."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from results.studies.measurements import Measurements
from results.studies.rlhf.cells import Cell
from results.studies.scores import Score, Scores, seed_of

TRAINED = ("ppo", "rloo", "grpo")
"""Roles of the stages that train a policy."""
COLUMNS = ["stage", "step", "resumed_from", "seconds_compute", "peak_memory_bytes", "peak_gpu_memory_bytes"]
GIGABYTE = 1e9


def put_resources(
    found: Measurements, mine: Scores[Cell], cell_of: Callable[[Mapping[Any, Any]], Cell]
) -> None:
    """Put seconds a step, hours for 100 steps and peak memory of every experiment whose training ended."""
    import results

    attempts = results.attempts(found.workspace)[COLUMNS]
    by_stage: dict[str, list[dict[Any, Any]]] = {}
    for row in attempts.astype(object).where(attempts.notna(), None).to_dict("records"):
        by_stage.setdefault(row["stage"], []).append(row)
    for row in found.experiments.to_dict("records"):
        stages = json.loads(row["stages"])
        rows = [one for role in TRAINED for one in by_stage.get(stages.get(role, ""), [])]
        if rows:
            _put(mine, cell_of(row), seed_of(row.get("seed")), rows)


def _put(mine: Scores[Cell], cell: Cell, seed: int, rows: list[dict[Any, Any]]) -> None:
    steps = sum((row["step"] or 0) - (row["resumed_from"] or 0) for row in rows)
    seconds = sum(row["seconds_compute"] or 0.0 for row in rows)
    peak = max((_peak(row) for row in rows), default=0)
    if steps > 0 and seconds > 0:
        mine.put("step_seconds", cell, seed, Score(seconds / steps))
        mine.put("hours_100", cell, seed, Score(100 * seconds / steps / 3600))
    if peak:
        mine.put("peak_memory", cell, seed, Score(peak / GIGABYTE))


def _peak(row: Mapping[Any, Any]) -> int:
    """Bytes of the GPU where there was one, as the study's tables count them; else of the machine."""
    return row["peak_gpu_memory_bytes"] or row["peak_memory_bytes"] or 0
