"""A study's scores by benchmark, cell and seed: of a store, or of the published figures. All in the unit shown."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, isnan
from typing import Any, Generic

from results.studies.benchmarks import Benchmark, Measured, as_measured
from results.studies.cells import Cell
from results.studies.measurements import Measurements

SHAPE = ("length", "repetition", "ended")
"""What stands beside a judged score: tokens, share of repeated trigrams, share of answers that ended."""

Seed = int


@dataclass(frozen=True)
class Score:
    """One run's figure, its standard error over `items` (None where unknown), and the step of a snapshot.

    An infinite value is the loss of a run that diverged, at `step`: worse than any.
    """

    value: float
    stderr: float | None = None
    items: int | None = None
    step: float = inf


Runs = Mapping[Seed, Score]
Curves = Mapping[Seed, list[Score]]


@dataclass
class Scores(Generic[Cell]):
    """Scores of one source, "store" or "published". `planned` are the cells there ought to be and their seeds.

    What has no seed has its one run under seed 0. `apart` holds the figures of roles that are not the experiment's
    own, such as a parent's evaluation for the sake of a child. `remarks` say how sure a figure is, by benchmark and
    cell. `steps` are those of the longest training.
    """

    source: str
    measured: dict[str, Measured]
    planned: dict[Cell, set[Seed]]
    last: dict[str, dict[Cell, dict[Seed, Score]]] = field(default_factory=dict)
    apart: dict[str, dict[Cell, dict[Seed, Score]]] = field(default_factory=dict)
    snapshots: dict[str, dict[Cell, dict[Seed, list[Score]]]] = field(default_factory=dict)
    shapes: dict[str, dict[Cell, dict[str, float]]] = field(default_factory=dict)
    remarks: dict[tuple[str, Cell], str] = field(default_factory=dict)
    title: str = ""
    scale: str = ""
    steps: float | None = None

    def runs(self, benchmark: str, cell: Cell, apart: bool = False) -> Runs:
        """The scores of a cell by seed; `apart` prefers those of the roles kept apart."""
        found = self.apart.get(benchmark, {}).get(cell, {}) if apart else {}
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

    def put(self, benchmark: str, cell: Cell, seed: Seed, score: Score) -> None:
        """Take a score as the last of its run."""
        self.last.setdefault(benchmark, {}).setdefault(cell, {})[seed] = score

    def put_curve(self, benchmark: str, cell: Cell, seed: Seed, line: list[Score]) -> None:
        """Take the snapshots of a run, in the order of steps."""
        self.snapshots.setdefault(benchmark, {}).setdefault(cell, {})[seed] = line


def store_scores(
    found: Measurements,
    cell_of: Callable[[Mapping[Any, Any]], Cell],
    benchmarks: Mapping[str, Benchmark],
    apart: frozenset[str] = frozenset(),
) -> Scores[Cell]:
    """The scores of a workspace: those of each run's last snapshot, of its curve, and of the roles `apart`."""
    tasks = set(found.figures["task"]) if len(found.figures) else set()
    names = {name: as_measured(name, one, tasks) for name, one in benchmarks.items()}
    owners: dict[str, tuple[Cell, Seed]] = {}
    planned: dict[Cell, set[Seed]] = {}
    for row in found.experiments.to_dict("records"):
        cell, seed = cell_of(row), seed_of(row.get("seed"))
        owners[row["experiment"]] = (cell, seed)
        planned.setdefault(cell, set()).add(seed)
    title = f"scale {found.scale}, preset {found.preset}"
    scores = Scores("store", names, planned, title=title, scale=found.scale)
    by_task = _by_task(found, {one.measure.task for one in names.values()})
    for name, one in names.items():
        _fill(scores, name, one, owners, by_task.get(one.measure.task, []), apart)
    return scores


Row = Mapping[Any, Any]


def _by_task(found: Measurements, tasks: set[str]) -> dict[str, list[Row]]:
    """The figures that have a value, by task; a missing number is None."""
    figures = found.figures
    mine = figures[figures["task"].isin(tasks) & figures["value"].notna()] if len(figures) else figures
    columns = ["experiment", "role", "task", "metric", "value", "stderr", "n", "step", "primary"]
    rows: dict[str, list[Row]] = {}
    for row in mine[columns].astype(object).where(mine[columns].notna(), None).to_dict("records"):
        rows.setdefault(row["task"], []).append(row)
    return rows


def _fill(
    scores: Scores[Cell],
    name: str,
    one: Measured,
    owners: Mapping[str, tuple[Cell, Seed]],
    rows: Iterable[Row],
    apart: frozenset[str],
) -> None:
    shapes: dict[tuple[Cell, str], dict[Seed, Score]] = {}
    for row in rows:
        cell, seed = owners[row["experiment"]]
        score = _score(row, one.measure.factor)
        if row["role"] not in apart and row["metric"] in SHAPE and not row["primary"]:
            _keep_last(shapes.setdefault((cell, row["metric"]), {}), seed, _score(row, 1.0))
        if row["metric"] != one.measure.metric and (one.measure.metric or not row["primary"]):
            continue
        table = scores.apart if row["role"] in apart else scores.last
        _keep_last(table.setdefault(name, {}).setdefault(cell, {}), seed, score)
        if row["role"] not in apart and score.step != inf:
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


def _score(row: Row, factor: float) -> Score:
    stderr = None if row["stderr"] is None else float(row["stderr"]) * factor
    items = None if row["n"] is None else int(row["n"])
    step = inf if row["step"] is None else float(row["step"])
    return Score(float(row["value"]) * factor, stderr, items, step)


def seed_of(value: Any) -> Seed:
    """A seed of the store; what has none is under 0."""
    return 0 if value is None or isnan(value) else int(value)


def logged_curves(
    found: Measurements, scores: Scores[Cell], cell_of: Callable[[Mapping[Any, Any]], Cell]
) -> Iterator[tuple[str, Cell, Seed, list[Score]]]:
    """What training logged of every benchmark that has a `curve`: benchmark, cell, seed, and the points by step."""
    wanted = {str(one.measure.curve): name for name, one in scores.measured.items() if one.measure.curve}
    owners = {
        row["experiment"]: (cell_of(row), seed_of(row.get("seed")))
        for row in found.experiments.to_dict("records")
    }
    curves = found.curves(set(wanted))
    for (experiment, logged), rows in curves.groupby(["experiment", "name"], sort=True):
        name = wanted[str(logged)]
        factor = scores.measured[name].measure.factor
        points = zip(rows["step"], rows["value"], strict=True)
        line = sorted(
            (Score(float(value) * factor, step=float(step)) for step, value in points), key=lambda s: s.step
        )
        yield name, *owners[str(experiment)], line
