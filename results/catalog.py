"""Tables `experiments` and `members`, made of plans and statuses."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from results.records import ExperimentRow, PlanRecord
from results.schema import FIXED_COLUMNS, MEMBERS, PARENTS, experiments_schema


@dataclass(frozen=True)
class Catalog:
    """All experiments once each, their own stages, and the edges of the graph of all stages."""

    experiments: pa.Table
    members: pa.Table
    parents: pa.Table


Block = tuple[PlanRecord, list[ExperimentRow]]


def catalog(plans: Sequence[PlanRecord], statuses: Mapping[str, str]) -> Catalog:
    """The experiments of `plans` (oldest first); the newest plan that lists an experiment describes it."""
    blocks = _blocks(plans)
    return Catalog(_experiments(blocks, statuses), _members(blocks), _parents(plans))


def level_array(values: Sequence[Any]) -> pa.Array:
    """The levels of one factor as a column: whole numbers, numbers, or else text; None is null."""
    types = {type(value) for value in values} - {type(None)}
    if types == {int}:
        return pa.array(values, pa.int64())
    if types and types <= {int, float}:
        return pa.array(values, pa.float64())
    if types <= {str}:
        return pa.array(values, pa.string())
    return pa.array([_text(value) for value in values], pa.string())


def factor_column(factor: str) -> str:
    """The column of a factor: its name, unless a fixed column has that."""
    return f"factor.{factor}" if factor in FIXED_COLUMNS else factor


def _blocks(plans: Sequence[PlanRecord]) -> list[Block]:
    newest = {row.experiment: index for index, plan in enumerate(plans) for row in plan.experiments}
    return [
        (plan, [row for row in plan.experiments if newest[row.experiment] == index])
        for index, plan in enumerate(plans)
    ]


def _experiments(blocks: Sequence[Block], statuses: Mapping[str, str]) -> pa.Table:
    fixed = {
        "experiment": [row.experiment for _, rows in blocks for row in rows],
        "name": [row.name for _, rows in blocks for row in rows],
        **{name: _repeated(blocks, name) for name in ("study", "scale", "preset", "grid")},
        "status": [statuses[row.experiment] for _, rows in blocks for row in rows],
    }
    factors = {factor_column(name): level_array(_levels(blocks, name)) for name in _factors(blocks)}
    schema = experiments_schema({name: column.type for name, column in factors.items()})
    stages = [_stages(plan, row) for plan, rows in blocks for row in rows]
    return pa.table({**fixed, **factors, "stages": stages}, schema=schema)


def _members(blocks: Sequence[Block]) -> pa.Table:
    rows = [
        (row.experiment, plan.study, role, position, plan.stages[index].stage)
        for plan, experiments in blocks
        for row in experiments
        for position, (role, index) in enumerate(row.stages.items())
    ]
    columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [[] for _ in MEMBERS]
    arrays = [pa.array(column, kind) for column, kind in zip(columns, MEMBERS.types, strict=True)]
    return pa.Table.from_arrays(arrays, schema=MEMBERS)


def _parents(plans: Sequence[PlanRecord]) -> pa.Table:
    """Every edge once, though several plans may hold the stage: equal ids have equal parents."""
    edges = dict.fromkeys(
        (row.stage, plan.stages[parent].stage)
        for plan in plans
        for row in plan.stages
        for parent in row.parents
    )
    arrays = [pa.array([edge[side] for edge in edges], pa.string()) for side in (0, 1)]
    return pa.Table.from_arrays(arrays, schema=PARENTS)


def _factors(blocks: Sequence[Block]) -> list[str]:
    """The union of all plans' factors in the order of first appearance."""
    return list(dict.fromkeys(name for plan, _ in blocks for name in plan.factors))


def _levels(blocks: Sequence[Block], factor: str) -> list[Any]:
    levels: list[Any] = []
    for plan, rows in blocks:
        if factor in plan.factors:
            column = plan.factors.index(factor)
            levels.extend(row.levels[column] for row in rows)
        else:
            levels.extend([None] * len(rows))
    return levels


def _repeated(blocks: Sequence[Block], name: str) -> list[str]:
    return [value for plan, rows in blocks for value in [getattr(plan, name)] * len(rows)]


def _stages(plan: PlanRecord, row: ExperimentRow) -> str:
    return json.dumps({role: plan.stages[index].stage for role, index in row.stages.items()})


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
