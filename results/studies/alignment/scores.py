"""The study's scores by benchmark, cell and seed: of a store, or of the published tables. All in the unit shown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, isnan
from typing import Any

from results.studies.alignment.benchmarks import Measured, benchmarks, measured
from results.studies.alignment.cells import Cell
from results.studies.measurements import Measurements
from results.studies.published import published_rows

SHAPE = ("length", "repetition", "ended")
"""What stands beside a judged score: tokens, share of repeated trigrams, share of answers that ended."""

UNQUANTIZED = "unquantized"
"""The role of the second evaluation of a merge's parents, on the base without quantization, as their merge has it."""

Seed = int


@dataclass(frozen=True)
class Score:
    """One run's figure, its standard error over `items` (None where unknown), and the step of a snapshot."""

    value: float
    stderr: float | None = None
    items: int | None = None
    step: float = inf


Runs = Mapping[Seed, Score]
Curves = Mapping[Seed, list[Score]]


@dataclass
class Scores:
    """Scores of one source, "store" or "published". `planned` are the cells there ought to be and their seeds.

    A start model has no seed: its one run is under seed 0 and counts for every seed.
    """

    source: str
    measured: dict[str, Measured]
    planned: dict[Cell, set[Seed]]
    last: dict[str, dict[Cell, dict[Seed, Score]]] = field(default_factory=dict)
    unquantized: dict[str, dict[Cell, dict[Seed, Score]]] = field(default_factory=dict)
    snapshots: dict[str, dict[Cell, dict[Seed, list[Score]]]] = field(default_factory=dict)
    shapes: dict[str, dict[Cell, dict[str, float]]] = field(default_factory=dict)
    title: str = ""

    def runs(self, benchmark: str, cell: Cell, unquantized: bool = False) -> Runs:
        """The scores of a cell by seed; `unquantized` prefers those at the precision of merges."""
        found = self.unquantized.get(benchmark, {}).get(cell, {}) if unquantized else {}
        return found or self.last.get(benchmark, {}).get(cell, {})

    def curves(self, benchmark: str, cell: Cell) -> Curves:
        """The snapshots of a cell by seed, in the order of steps; empty where only the end was measured."""
        return self.snapshots.get(benchmark, {}).get(cell, {})

    @cached_property
    def cells(self) -> list[Cell]:
        """All planned cells."""
        return list(self.planned)

    def has(self, benchmark: str) -> bool:
        """Whether there is any figure of a benchmark."""
        return bool(self.last.get(benchmark))


def published_scores(swap_slerp: bool = False) -> Scores:
    """The printed figures, one a cell. `swap_slerp` takes the labels of the two Slerp rows to be exchanged (C1)."""
    names = {name: measured(name, [one.measures.task]) for name, one in benchmarks().items()}
    scores = Scores("published", names, {}, title="published figures")
    for row in published_rows("alignment"):
        cell = Cell.of(row)
        if swap_slerp and cell.variant == "merge-slerp":
            cell = cell._replace(method={"sft": "dpo", "dpo": "sft"}[cell.method])
        scores.planned.setdefault(cell, {0})
        scores.last.setdefault(row["metric"], {})[cell] = {0: Score(float(row["value"]))}
    return scores


def store_scores(found: Measurements) -> Scores:
    """The scores of a workspace: those of each run's last snapshot, of its curve, and at merges' precision."""
    tasks = set(found.figures["task"]) if len(found.figures) else set()
    names = {name: measured(name, tasks) for name in benchmarks()}
    owners: dict[str, tuple[Cell, Seed]] = {}
    planned: dict[Cell, set[Seed]] = {}
    for row in found.experiments.to_dict("records"):
        cell, seed = Cell.of(row), _seed(row.get("seed"))
        owners[row["experiment"]] = (cell, seed)
        planned.setdefault(cell, set()).add(seed)
    scores = Scores("store", names, planned, title=f"scale {found.scale}, preset {found.preset}")
    for name, one in names.items():
        _fill(scores, name, one, owners, _rows(found, one.measure.task))
    return scores


def _rows(found: Measurements, task: str) -> list[dict[Any, Any]]:
    figures = found.figures
    mine = figures[(figures["task"] == task) & figures["value"].notna()] if len(figures) else figures
    columns = ["experiment", "role", "metric", "value", "stderr", "n", "step", "primary"]
    rows: list[dict[Any, Any]] = (
        mine[columns].astype(object).where(mine[columns].notna(), None).to_dict("records")
    )
    return rows


def _fill(
    scores: Scores,
    name: str,
    one: Measured,
    owners: Mapping[str, tuple[Cell, Seed]],
    rows: Iterable[Mapping[Any, Any]],
) -> None:
    shapes: dict[tuple[Cell, str], dict[Seed, Score]] = {}
    for row in rows:
        cell, seed = owners[row["experiment"]]
        score = _score(row, one.measure.factor)
        if row["role"] != UNQUANTIZED and row["metric"] in SHAPE and not row["primary"]:
            _keep_last(shapes.setdefault((cell, row["metric"]), {}), seed, _score(row, 1.0))
        if row["metric"] != one.measure.metric and (one.measure.metric or not row["primary"]):
            continue
        table = scores.unquantized if row["role"] == UNQUANTIZED else scores.last
        _keep_last(table.setdefault(name, {}).setdefault(cell, {}), seed, score)
        if row["role"] != UNQUANTIZED and score.step != inf:
            scores.snapshots.setdefault(name, {}).setdefault(cell, {}).setdefault(seed, []).append(score)
    for snapshots in scores.snapshots.get(name, {}).values():
        for line in snapshots.values():
            line.sort(key=lambda each: each.step)
    for (cell, metric), runs in shapes.items():
        mean = sum(run.value for run in runs.values()) / len(runs)
        scores.shapes.setdefault(name, {}).setdefault(cell, {})[metric] = mean


def _keep_last(runs: dict[Seed, Score], seed: Seed, score: Score) -> None:
    """Of several snapshots the one at the largest step counts; no step is the end."""
    if seed not in runs or score.step >= runs[seed].step:
        runs[seed] = score


def _score(row: Mapping[Any, Any], factor: float) -> Score:
    stderr = None if row["stderr"] is None else float(row["stderr"]) * factor
    items = None if row["n"] is None else int(row["n"])
    step = inf if row["step"] is None else float(row["step"])
    return Score(float(row["value"]) * factor, stderr, items, step)


def _seed(value: Any) -> Seed:
    return 0 if value is None or isnan(value) else int(value)
