"""The study's scores: of a store, or of the figures that are known of the paper."""

from collections.abc import Mapping
from math import inf

from results.studies import scores
from results.studies.benchmarks import as_measured
from results.studies.measurements import Measurements
from results.studies.memory import remembered
from results.studies.published import published_rows
from results.studies.quantization.benchmarks import benchmarks
from results.studies.quantization.cells import BASELINES, Cell
from results.studies.scores import Score, logged_curves

Scores = scores.Scores[Cell]

SETS = {
    "wikitext-2-v1": "wikitext2",
    "wikitext-103-v1": "wikitext103",
    "ptb": "ptb",
    "lm1b": "lm1b",
    "lambada": "lambada",
}
CUT = {"A4-per-token": "a4_row", "A4-per-tensor": "a4_tensor"}
MODELS = {"gpt2-small": "gpt2", "llama-198m": "llama"}
PARAMETERS = {"parameters_tied": "baseline", "parameters_untied": "baseline_untied"}


@remembered
def store_scores(found: Measurements, curves: bool = False) -> Scores:
    """The scores of a workspace; with `curves` also the loss along each training."""
    mine = scores.store_scores(found, Cell.of, benchmarks())
    steps = [run.step for runs in _losses(mine) for run in runs.values() if run.step != inf]
    mine.steps = max(steps, default=None)
    _mark_diverged(mine)
    _put_gaps(mine)
    _end_curves(mine)
    if curves:
        for name, cell, seed, line in logged_curves(found, mine, Cell.of):
            mine.put_curve(name, cell, seed, line)
    return mine


def _losses(mine: Scores) -> list[dict[int, Score]]:
    return list(mine.last.get("loss", {}).values())


def _mark_diverged(mine: Scores) -> None:
    """Of every run whether and when it diverged; the loss of one that did is infinite, at that step."""
    broken = mine.last.pop("reached", {})
    for cell, runs in {**mine.last.get("parameters", {}), **mine.last.get("loss", {})}.items():
        for seed in {*runs, *broken.get(cell, {})}:
            step = broken[cell][seed].value if seed in broken.get(cell, {}) else None
            mine.put("diverged", cell, seed, Score(0.0 if step is None else 1.0))
            if step is not None:
                mine.put("loss", cell, seed, Score(inf, step=step))
            reached = mine.steps if step is None else step
            if reached is not None:
                mine.put("reached", cell, seed, Score(reached))


def control(mine: Scores, cell: Cell) -> Cell | None:
    """The baseline of equal model and size, tied or untied as the cell is; None where that was not planned.

    Sizes are counted parameters: a head that lost its tie to the embedding is a matrix more.
    """
    found = [one for one in (Cell(cell.model, name) for name in BASELINES) if one in mine.planned]
    own = _size(mine, cell)
    if own is not None:
        found = [one for one in found if _size(mine, one) in (own, None)]
    return next((one for one in found if one != cell), None) if cell.arm != "baseline" else None


def _size(mine: Scores, cell: Cell) -> float | None:
    runs = mine.runs("parameters", cell)
    return next(iter(runs.values())).value if runs else None


def _put_gaps(mine: Scores) -> None:
    for cell, runs in list(mine.last.get("loss", {}).items()):
        other = control(mine, cell)
        beside = {} if other is None else mine.runs("loss", other)
        for seed, run in runs.items():
            if seed in beside and beside[seed].value != inf:
                mine.put("gap", cell, seed, Score(run.value - beside[seed].value, step=run.step))


def _end_curves(mine: Scores) -> None:
    """What is measured early and at the end becomes a line with both."""
    for name in ("outliers", "outlier_peak"):
        for cell, lines in mine.snapshots.get(name, {}).items():
            for seed, line in lines.items():
                end = mine.runs(name, cell).get(seed)
                if end is not None and end.step == inf:
                    line.append(Score(end.value, end.stderr, end.items, mine.steps or inf))


def published_scores() -> Scores:
    """What is known of the published figures, with a remark where it is not read from the paper or its code."""
    names = {name: as_measured(name, one, [one.measures.task]) for name, one in benchmarks().items()}
    mine: Scores = Scores("published", names, {}, title="published figures")
    for row in published_rows("quantization"):
        model = MODELS[row["model"]]
        if row["metric"] == "perplexity":
            _put(mine, SETS[row["dataset"]], Cell(model, row["arm"]), float(row["value"]), _remark(row))
        elif row["metric"] == "history_cut_step":
            remark = "that it diverged is inferred: its history is cut at this step"
            _put(mine, "reached", Cell(model, CUT[row["arm"]]), float(row["value"]), remark)
            _put(mine, "diverged", Cell(model, CUT[row["arm"]]), 1.0, remark)
        elif row["metric"] in PARAMETERS:
            name = "baseline" if model == "llama" else PARAMETERS[row["metric"]]
            _put(
                mine, "parameters", Cell(model, name), float(row["value"]), "computed from the configuration"
            )
    return mine


def _put(mine: Scores, benchmark: str, cell: Cell, value: float, remark: str) -> None:
    mine.planned.setdefault(cell, {0})
    mine.put(benchmark, cell, 0, Score(value))
    if remark:
        mine.remarks[benchmark, cell] = remark


def _remark(row: Mapping[str, str]) -> str:
    if row["certainty"] == "second-hand":
        return f"second-hand: {row['source']}, which arm it is is not known"
    return "a constant of the authors' plotting code, which may differ from the paper's table"
