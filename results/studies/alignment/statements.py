"""The study's statements and how each is tested, as the YAML file beside this module says."""

from pathlib import Path
from typing import ClassVar

from results.studies import statements
from results.studies.alignment.benchmarks import benchmarks
from results.studies.alignment.cells import Cell, title
from results.studies.statements import Vocabulary

FILE = Path(__file__).with_name("findings.yaml")

AGAINST = {
    "original": "less the original",
    "worst_single": "less the lower single run",
    "best_parent": "less the best parent",
    "other_merges": "less the best other merge",
    "first_snapshot": "change along the training",
}


class Comparison(statements.Comparison):
    """A comparison of this study's cells."""

    vocabulary: ClassVar[Vocabulary] = Vocabulary(
        (*Cell._fields, "start_type"), benchmarks, AGAINST, ("other_merges",), title
    )


Statement = statements.Statement[Comparison]


def read_statements(path: Path = FILE) -> dict[str, Statement]:
    """The statements of a file by name.

    Raises:
        WorkspaceError: the file is missing or wrong; the message says where, and what is allowed.
    """
    return statements.read_statements(path, Comparison)
