"""The study's scores: of a store, or of the published tables."""

from results.studies import scores
from results.studies.alignment.benchmarks import benchmarks, measured
from results.studies.alignment.cells import Cell
from results.studies.measurements import Measurements
from results.studies.memory import remembered
from results.studies.published import published_rows
from results.studies.scores import Score

UNQUANTIZED = "unquantized"
"""The role of the second evaluation of a merge's parents, on the base without quantization, as their merge has it."""

Scores = scores.Scores[Cell]


def published_scores(swap_slerp: bool = False) -> Scores:
    """The printed figures, one a cell. `swap_slerp` takes the labels of the two Slerp rows to be exchanged (C1)."""
    names = {name: measured(name, [one.measures.task]) for name, one in benchmarks().items()}
    found: Scores = Scores("published", names, {}, title="published figures")
    for row in published_rows("alignment"):
        cell = Cell.of(row)
        if swap_slerp and cell.variant == "merge-slerp":
            cell = cell._replace(method={"sft": "dpo", "dpo": "sft"}[cell.method])
        found.planned.setdefault(cell, {0})
        found.put(row["metric"], cell, 0, Score(float(row["value"])))
    return found


@remembered
def store_scores(found: Measurements) -> Scores:
    """The scores of a workspace: those of each run's last snapshot, of its curve, and at merges' precision."""
    return scores.store_scores(found, Cell.of, benchmarks(), frozenset({UNQUANTIZED}))
