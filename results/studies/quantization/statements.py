"""The study's statements and how each is tested, as the YAML file beside this module says."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from results.studies import statements
from results.studies.pairs import Baseline, Side, Values, against_nothing
from results.studies.quantization.benchmarks import benchmarks
from results.studies.quantization.cells import Cell, title
from results.studies.quantization.scores import control
from results.studies.statements import Vocabulary

FILE = Path(__file__).with_name("findings.yaml")

AGAINST = {"control": "less the control", "nothing": ""}


class Comparison(statements.Comparison):
    """A comparison of this study's cells."""

    vocabulary: ClassVar[Vocabulary] = Vocabulary(Cell._fields, benchmarks, AGAINST, (), title)


Statement = statements.Statement[Comparison]


def read_statements(path: Path = FILE) -> dict[str, Statement]:
    """The statements of a file by name.

    Raises:
        WorkspaceError: the file is missing or wrong; the message says where, and what is allowed.
    """
    return statements.read_statements(path, Comparison)


def _against_control(values: Values[Cell], cell: Cell) -> Iterator[Side[Cell]]:
    other = control(values.scores, cell)
    if other is not None:
        yield Side(cell, values.of(cell), values.of(other))


BASELINES: dict[str, Baseline[Cell]] = {"control": _against_control, "nothing": against_nothing}
