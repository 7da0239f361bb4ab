"""One workspace as the report reads it: the tables of one snapshot of the store, and the plans' graphs."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from results.layout import Workspace
from results.plans import read_plans
from results.records import PlanRecord
from results.snapshot import Snapshot


@dataclass(frozen=True)
class Source:
    """A workspace under the `name` that the reader sees, as it was at one moment."""

    name: str
    snapshot: Snapshot

    @property
    def workspace(self) -> Workspace:
        """Where it lies."""
        return self.snapshot.workspace

    @cached_property
    def experiments(self) -> pa.Table:
        """One row an experiment: what it is, its status, its factors."""
        return self.snapshot.catalog.experiments

    @cached_property
    def members(self) -> pa.Table:
        """The own stages of every experiment."""
        return self.snapshot.catalog.members

    @cached_property
    def parents(self) -> pa.Table:
        """The edges of the graph of stages."""
        return self.snapshot.catalog.parents

    @cached_property
    def metrics(self) -> pa.Table:
        """Every figure of a committed stage."""
        return self.snapshot.table("metrics")

    @cached_property
    def attempts(self) -> pa.Table:
        """Every attempt that ended."""
        return self.snapshot.table("attempts")

    @cached_property
    def plans(self) -> list[PlanRecord]:
        """The plans without levels, oldest first."""
        return read_plans(self.workspace, lambda path, reason: None, levels=False)

    @property
    def studies(self) -> list[str]:
        """The studies of the workspace, in the order of their first experiments."""
        return list(dict.fromkeys(self.experiments["study"].to_pylist()))

    def of_study(self, study: str) -> pa.Table:
        """The experiments of one study."""
        return self.experiments.filter(pc.equal(self.experiments["study"], study))

    def rows_of(self, table: str, stages: pa.Array) -> Iterator[pa.Table]:
        """The rows of `curves` or `samples` that belong to `stages`, piece by piece."""
        for piece in self.snapshot.batches(table):
            found = piece.filter(pc.is_in(piece["stage"], value_set=stages))
            if found.num_rows:
                yield found
