"""The figures that the studies' papers print, one row a figure, as they were printed."""

import csv
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "published"


def published_rows(study: str) -> list[Mapping[str, str]]:
    """The rows of `results/published/<study>.csv`: factors, `metric`, `value`, `source` and `source_table`."""
    with (FOLDER / f"{study}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
