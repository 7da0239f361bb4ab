"""Which experiments a few changed stages can concern, and their statuses, without reading whole plans."""

from collections.abc import Collection, Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from results.records import ExperimentRow, PlanRecord, StageRow
from results.status import Facts, Status, survey


def renewed_statuses(
    members: pa.Table, parents: pa.Table, changed: Collection[str], facts: Facts
) -> Mapping[str, Status]:
    """The statuses of all experiments that have a stage in `changed` or descending from one.

    Every other experiment has the status that it had: a status depends on the experiment's own stages and
    on their ancestors, nothing else. `parents` holds the edges of the graph, `members` the own stages.
    """
    reached = pa.concat_arrays([*_levels(pa.array(changed, pa.string()), parents, "parent", "stage")])
    concerned = _where(members, "stage", reached)["experiment"]
    return survey([_plan(_where(members, "experiment", concerned), parents)], facts).experiments


def _plan(members: pa.Table, parents: pa.Table) -> PlanRecord:
    """The part of the graph that decides the status of the experiments in `members`, as a plan."""
    levels = list(_levels(members["stage"].combine_chunks(), parents, "stage", "parent"))
    order = dict.fromkeys(stage for level in reversed(levels) for stage in level.to_pylist())
    index = {stage: position for position, stage in enumerate(order)}
    above: dict[str, list[int]] = {}
    edges = _where(parents, "stage", pa.array(order, pa.string()))
    for stage, parent in zip(edges["stage"].to_pylist(), edges["parent"].to_pylist(), strict=True):
        above.setdefault(stage, []).append(index[parent])
    stages = [StageRow(stage, "", tuple(above.get(stage, ())), "", "", 0.0) for stage in order]
    return PlanRecord("", "", "", "", (), _experiments(members, index), stages)


def _experiments(members: pa.Table, index: Mapping[str, int]) -> list[ExperimentRow]:
    pipelines: dict[str, dict[str, int]] = {}
    columns = [members[name].to_pylist() for name in ("experiment", "role", "stage")]
    for experiment, role, stage in zip(*columns, strict=True):
        pipelines.setdefault(experiment, {})[role] = index[stage]
    return [ExperimentRow(experiment, "", (), pipeline) for experiment, pipeline in pipelines.items()]


def _levels(start: pa.Array, parents: pa.Table, here: str, there: str) -> Iterator[pa.Array]:
    """`start`, its neighbours, theirs, and so on along the edges from `here` to `there`.

    A stage is in as many levels as paths have lengths, so that whatever lies beyond it is in a later level
    than its last. The graph has no cycles: this ends after its longest path.
    """
    level = start.unique()
    while len(level):
        yield level
        level = _where(parents, here, level)[there].combine_chunks().unique()
    if not len(start):
        yield start


def _where(table: pa.Table, column: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.filter(pc.is_in(table[column], value_set=values))
