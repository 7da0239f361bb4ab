"""The study's tables: win rates beside AlpacaFarm's, resources, regularizers, factuality, effects of flaws."""

from collections.abc import Mapping, Sequence

from results.studies.cells import NONE
from results.studies.rendering import Table
from results.studies.rlhf.cells import PPO, SUPERVISED, Cell, labels, ordered
from results.studies.rlhf.scores import Scores
from results.studies.tables import Layout, Line, Sources, scores_table

SOURCE = "arXiv 2309.09055, its figures, AlpacaFarm and FActScore"
PRINTED = ("simulated", "human", "leaderboard", "alpacaeval1", "gpus", "trainable_share")
"""Benchmarks of which there are only printed figures."""
POOL = "Published win rates are of judges that no longer exist: compare their order, not their values."

TABLES: Mapping[str, tuple[str, Sequence[str]]] = {
    "T1": (
        "T1: win rates",
        (
            "win_rate",
            "win_rate_legacy",
            "draws",
            "judged",
            "simulated",
            "human",
            "leaderboard",
            "alpacaeval1",
        ),
    ),
    "T2": (
        "T2: resources",
        ("parameters", "step_seconds", "hours_100", "peak_memory", "gpus", "trainable_share"),
    ),
    "T3": (
        "T3: regularizers",
        (
            "best_win_rate",
            "win_rate_100",
            "win_rate",
            "benign",
            "true_kl",
            "score",
            "entropy",
            "response_length",
        ),
    ),
    "T4": (
        "T4: factuality",
        ("factscore", "factscore_penalized", "factscore_start", "facts", "facts_start", "responded"),
    ),
    "T5": ("T5: what each departure changes", ("true_kl", "score", "win_rate", "entropy", "response_length")),
}
"""Heading and columns of every table."""


def study_table(name: str, sources: Sources[Cell]) -> Table:
    """One of TABLES, a row for each cell that it is about."""
    heading, benchmarks = TABLES[name]
    shown = [each for each in benchmarks if sources.published is not None or each not in PRINTED]
    printed = [each for each in shown if each in PRINTED]
    lines = [Line(labels(cell), cell) for cell in _cells(name, sources, shown)]
    notes = [POOL] if sources.published is not None and "win_rate" in shown else []
    header = ("system", "regularizer", "coefficient")
    return scores_table(Layout(heading, header, lines, shown, SOURCE, notes, printed), sources)


def _cells(name: str, sources: Sources[Cell], benchmarks: Sequence[str]) -> list[Cell]:
    planned = [] if sources.store is None else [cell for cell in sources.store.cells if _belongs(name, cell)]
    if name == "T5":
        return _contrasted(planned)
    found = [] if sources.published is None else _with_figures(sources.published, benchmarks)
    return ordered(list(dict.fromkeys([*planned, *(cell for cell in found if _belongs(name, cell))])))


def _belongs(name: str, cell: Cell) -> bool:
    if name in ("T3", "T5"):
        return cell.method == PPO
    return name != "T2" or cell.method != SUPERVISED


def _with_figures(printed: Scores, benchmarks: Sequence[str]) -> list[Cell]:
    return [cell for cell in printed.cells if any(printed.runs(each, cell) for each in benchmarks)]


def _contrasted(planned: Sequence[Cell]) -> list[Cell]:
    """The arms that were run with more than one set of settings."""
    departed = {cell._replace(settings=NONE) for cell in planned if cell.settings != NONE}
    return ordered([cell for cell in planned if cell._replace(settings=NONE) in departed])
