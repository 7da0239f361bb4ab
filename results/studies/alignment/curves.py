"""Figures F2 and F3: scores along the training, over the number of samples seen."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import isfinite

from results.files import WorkspaceError
from results.statistics import Interval
from results.studies.alignment.cells import Cell, title
from results.studies.alignment.scores import Scores
from results.studies.drawing import Figure, Point
from results.studies.estimates import across_seeds
from results.studies.measurements import Measurements
from results.studies.recipes import stage_recipes
from results.studies.scores import Curves, Score

PAIR = ("mistral-7b", "mistral-7b-instruct")
PREFERENCES = ("harmless", "helpful")
BENCHMARKS = ("bbh", "mmlu", "alpacaeval", "rt")
ABSOLUTE = ("rt", "red_instruct")
"""Benchmarks whose sign or zero makes a share of the first value meaningless: their absolute difference is shown."""


@dataclass(frozen=True)
class Design:
    """A figure of curves: its colours are the levels of `factor`, and each point is made of a seed's curve."""

    heading: str
    factor: str
    levels: tuple[str, ...]
    fixed: dict[str, str]
    relative: bool


CURVES = {
    "F2": Design(
        "F2: SFT along the training", "dataset", ("hh-rlhf", "beavertails"), {"method": "sft"}, False
    ),
    "F3": Design(
        "F3: change since the first snapshot, BeaverTails",
        "method",
        ("sft", "dpo"),
        {"dataset": "beavertails"},
        True,
    ),
}


def curve_figure(name: str, found: Measurements, scores: Scores) -> Figure:
    """A panel for each start model and benchmark, a colour for each level, a line for each preference.

    F2 shows scores. F3 shows, for each seed and then on average, `100 (s_k - s_1) / |s_1|` per cent since the first
    snapshot; of toxicity and safety the difference `s_k - s_1`.

    Raises:
        WorkspaceError: no curve of the figure was measured.
    """
    design, batches = CURVES[name], batch_sizes(found)
    points: list[Point] = []
    panels = []
    names = [each for each in BENCHMARKS if scores.has(each)]
    for model, benchmark in product(PAIR, names):
        panel = f"{title(model)}: {_heading(scores, benchmark, design)}"
        panels.append(panel)
        for level, preference in product(design.levels, PREFERENCES):
            levels = {"model": model, "preference": preference, "adapter": "qlora", "variant": "single"}
            cell = Cell.of({**levels, **design.fixed, design.factor: level})
            curve = scores.curves(benchmark, cell)
            for step, estimate in _estimates(curve, _change(benchmark, design)):
                place = step * batches.get(cell.method, 1)
                points.append(Point(panel, title(level), place, estimate, style=preference))
    if not points:
        raise WorkspaceError(f"{name}: no experiment of it was measured along its training yet")
    notes = [
        _note(design),
        *(scores.measured[each].note for each in names if scores.measured[each].stands_in),
    ]
    across = "samples seen" if batches else "optimizer steps"
    series = [title(level) for level in design.levels]
    heading = f"{design.heading}, QLoRA ({scores.title})"
    return Figure(heading, "curves", panels, series, points, across=across, columns=len(names), notes=notes)


def batch_sizes(found: Measurements) -> dict[str, int]:
    """Samples (pairs) in an optimizer step of each method, where all its stages agree.

    Raises:
        WorkspaceError: a stage of the workspace has no readable `stage.json`.
    """
    sizes = {}
    for method in ("sft", "dpo"):
        seen = {recipe["training"]["batch_size"] for recipe in stage_recipes(found, method).values()}
        if len(seen) == 1:
            sizes[method] = int(seen.pop())
    return sizes


Change = Callable[[Score, Score], Score]


def _estimates(curves: Curves, change: Change) -> list[tuple[float, Interval]]:
    """The mean over seeds at each step that a seed was measured at."""
    by_step: dict[float, list[Score]] = {}
    for line in curves.values():
        for score in line:
            changed = change(score, line[0])
            if isfinite(changed.value):
                by_step.setdefault(score.step, []).append(changed)
    return [(step, across_seeds(found)) for step, found in sorted(by_step.items())]


def _change(benchmark: str, design: Design) -> Change:
    if not design.relative:
        return lambda score, first: score
    return _difference if benchmark in ABSOLUTE else _per_cent


def _difference(score: Score, first: Score) -> Score:
    return Score(score.value - first.value, step=score.step)


def _per_cent(score: Score, first: Score) -> Score:
    if first.value == 0:
        return Score(float("nan"), step=score.step)
    return Score(100 * (score.value - first.value) / abs(first.value), step=score.step)


def _heading(scores: Scores, benchmark: str, design: Design) -> str:
    heading = scores.measured[benchmark].heading
    if not design.relative:
        return heading
    return f"{heading}, difference" if benchmark in ABSOLUTE else f"{heading}, %"


def _note(design: Design) -> str:
    if design.relative:
        return "Bars: 95 % t intervals over seeds of each seed's own change; a seed that starts at 0 has no per cent."
    return "Bars: 95 % intervals, seeds and prompts at random."
