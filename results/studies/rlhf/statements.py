"""The study's statements and how each is tested, as the YAML file beside this module says."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from results.studies import statements
from results.studies.cells import NONE
from results.studies.pairs import Baseline, Side, Values, against_nothing
from results.studies.rlhf.benchmarks import benchmarks
from results.studies.rlhf.cells import FULL, PPO, SUPERVISED, Cell, title
from results.studies.rlhf.scores import HORIZON
from results.studies.statements import Vocabulary

FILE = Path(__file__).with_name("findings.yaml")

WIN_RATE = "win_rate"

AGAINST = {
    "nothing": "",
    "supervised": "less the supervised model",
    "full_tuning": "less PPO with full tuning",
    "other_arms": "less the best other arm",
}


class Comparison(statements.Comparison):
    """A comparison of this study's cells."""

    vocabulary: ClassVar[Vocabulary] = Vocabulary(
        Cell._fields, benchmarks, AGAINST, ("other_arms",), title, HORIZON
    )


Statement = statements.Statement[Comparison]


def read_statements(path: Path = FILE) -> dict[str, Statement]:
    """The statements of a file by name.

    Raises:
        WorkspaceError: the file is missing or wrong; the message says where, and what is allowed.
    """
    return statements.read_statements(path, Comparison)


def _against_other_arms(values: Values[Cell], cell: Cell) -> Iterator[Side[Cell]]:
    """Every other PPO arm with the same coefficient, or with none."""
    for other in values.scores.cells:
        alike = other.coefficient in (cell.coefficient, NONE)
        alike = alike and (other.reward_data, other.settings) == (cell.reward_data, cell.settings)
        if other != cell and other.method == PPO and alike:
            left, right = values.of(cell), values.of(other)
            if right or not values.scores.has(values.benchmark) or values.scores.source == "store":
                yield Side(other, left, right)


def _against_one(method: str) -> Baseline[Cell]:
    """The one figure of a system without steps, whatever is read of the cell's curve; it counts for every seed."""

    def sides(values: Values[Cell], cell: Cell) -> Iterator[Side[Cell]]:
        for other in values.scores.cells:
            if other.method == method and other != cell:
                left, runs = values.of(cell), values.scores.runs(values.benchmark, other)
                if not runs and values.scores.measured[values.benchmark].measure.task == WIN_RATE:
                    runs = values.scores.runs(WIN_RATE, other)
                right = {seed: run.value for seed, run in runs.items()}
                yield Side(cell, left, dict.fromkeys(left, right[0]) if set(right) == {0} else right)

    return sides


BASELINES: dict[str, Baseline[Cell]] = {
    "nothing": against_nothing,
    "supervised": _against_one(SUPERVISED),
    "full_tuning": _against_one(FULL),
    "other_arms": _against_other_arms,
}
