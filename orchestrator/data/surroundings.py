"""A stage's surroundings without a run: enough for loaders to find and read data."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from results.layout import Workspace
from workers.context import StageContext

if TYPE_CHECKING:
    from orchestrator.plan import Plan


@contextmanager
def surroundings(plan: "Plan", index: int) -> Iterator[StageContext]:
    """The context of the stage at `index`, in a temporary workspace that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="yates-data-") as directory:
        root = Path(directory)
        yield StageContext(
            workspace=Workspace(root),
            stage=plan.stage(index),
            attempt=root / "attempt",
            parents=[],
            execution=plan.stages[index].execution,
            hub_map=dict(plan.hub_map),
        )
