"""Plans on disk: one compact JSON file per submitted grid, read whole in a fraction of a second.

Columns instead of rows, and each column that repeats itself as values and codes: a plan of 100,000
experiments is tens of megabytes that the JSON parser reads at full speed.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from results.collector import collector_paused
from results.files import WorkspaceError, json_bytes, publish_once, read_json, write_atomic
from results.layout import Workspace
from results.records import ExperimentRow, PlanRecord, StageRow

Encoded = dict[str, Any]
OnDamage = Callable[[Path, str], None]


def write_plan(workspace: Workspace, record: PlanRecord) -> str:
    """Write `record` as `plans/<digest>.json` and return the digest.

    The digest covers everything but `created` and what stages are expected to cost, so an equal plan that is
    submitted again renews its one file and becomes the newest.

    Raises:
        ValueError: a stage comes before one of its parents, or an index points nowhere.
        OSError: the workspace is not writable.
    """
    _check(record)
    content = _encode_plan(record)
    lasting = {**content, "stages": {**content["stages"], "cost": None}}
    digest = hashlib.sha256(json_bytes(lasting)).hexdigest()[:32]
    stamped = json_bytes({**content, "created": record.created or time.time()})
    path = workspace.plans / f"{digest}.json"
    if not publish_once(path, stamped):
        write_atomic(path, stamped)
    return digest


def read_plans(
    workspace: Workspace, on_damage: OnDamage | None = None, *, levels: bool = True
) -> list[PlanRecord]:
    """All plans of the workspace, oldest first, so that later ones override earlier ones.

    A damaged file is handed to `on_damage` with the reason and left out. Without `levels` the graphs are
    read alone, which is faster: no factors, and experiments without levels.

    Raises:
        WorkspaceError: a file is damaged and there is no `on_damage`.
    """
    found: list[tuple[float, str, PlanRecord]] = []
    for name in plan_marks(workspace):
        path = workspace.plans / name
        try:
            plan = read_plan(path, levels=levels)
        except WorkspaceError as error:
            if on_damage is None:
                raise
            on_damage(path, str(error))
        else:
            found.append((plan.created, name, plan))
    return [plan for _, _, plan in sorted(found, key=lambda item: item[:2])]


def read_plan(path: Path, *, levels: bool = True) -> PlanRecord:
    """The plan in file `path`, with its factors and levels unless those are not wanted.

    Raises:
        WorkspaceError: the file is damaged; the message names it.
    """
    with collector_paused():
        try:
            content = read_json(path)
            return _decode_plan(content if levels else _graph_alone(content))
        except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
            raise WorkspaceError(f"{path}: not a plan ({error!r})") from None


def plan_marks(workspace: Workspace) -> dict[str, list[int]]:
    """Modification time (ns) and size of every plan file by name: equal marks, equal plans."""
    try:
        with os.scandir(workspace.plans) as entries:
            named = [entry for entry in entries if entry.name.endswith(".json") and entry.name[0] != "."]
            return {entry.name: [entry.stat().st_mtime_ns, entry.stat().st_size] for entry in named}
    except FileNotFoundError:
        return {}


def _check(record: PlanRecord) -> None:
    for index, stage in enumerate(record.stages):
        if any(not 0 <= parent < index for parent in stage.parents):
            raise ValueError(f"stage {stage.stage}: parents must come before their children in a plan")
    count = len(record.stages)
    for row in record.experiments:
        if any(not 0 <= index < count for index in row.stages.values()):
            raise ValueError(f"experiment {row.experiment}: names a stage that the plan does not hold")
        if len(row.levels) != len(record.factors):
            raise ValueError(
                f"experiment {row.experiment}: has {len(row.levels)} levels for {len(record.factors)} factors"
            )


def _encode_plan(record: PlanRecord) -> Encoded:
    return {
        "version": record.version,
        "study": record.study,
        "grid": record.grid,
        "scale": record.scale,
        "preset": record.preset,
        "factors": list(record.factors),
        "shapes": record.shapes,
        "experiments": _encode_experiments(record.experiments, len(record.factors)),
        "stages": _encode_stages(record.stages),
        **({"search": record.search} if record.search else {}),
    }


def _encode_experiments(rows: Sequence[ExperimentRow], width: int) -> Encoded:
    return {
        "experiment": [row.experiment for row in rows],
        "name": [row.name for row in rows],
        "levels": [_encode(row.levels[column] for row in rows) for column in range(width)],
        "roles": _encode(list(row.stages) for row in rows),
        "own": [list(row.stages.values()) for row in rows],
    }


def _encode_stages(rows: Sequence[StageRow]) -> Encoded:
    return {
        "stage": [row.stage for row in rows],
        "kind": _encode(row.kind for row in rows),
        "parents": [list(row.parents) for row in rows],
        "shape": _encode(row.shape for row in rows),
        "affinity": _encode(row.affinity for row in rows),
        "cost": [row.cost for row in rows],
    }


def _encode(column: Iterable[Any]) -> Encoded:
    """A column as its distinct values and one code per row; 1, 1.0 and true stay distinct."""
    codes_by_key: dict[Any, int] = {}
    values: list[Any] = []
    codes: list[int] = []
    for value in column:
        key = json.dumps(value) if isinstance(value, list | dict | tuple) else (value.__class__, value)
        code = codes_by_key.setdefault(key, len(values))
        if code == len(values):
            values.append(value)
        codes.append(code)
    return {"values": values, "codes": codes}


def _graph_alone(content: Encoded) -> Encoded:
    return {**content, "factors": [], "experiments": {**content["experiments"], "levels": []}}


def _decode_plan(content: Encoded) -> PlanRecord:
    return PlanRecord(
        study=content["study"],
        grid=content["grid"],
        scale=content["scale"],
        preset=content["preset"],
        factors=tuple(content["factors"]),
        experiments=_decode_experiments(content["experiments"]),
        stages=_decode_stages(content["stages"]),
        shapes=content["shapes"],
        created=content["created"],
        version=content["version"],
        search=content.get("search", {}),
    )


def _decode_experiments(content: Encoded) -> list[ExperimentRow]:
    identifiers = content["experiment"]
    columns = [_decode(column) for column in content["levels"]]
    levels: Iterable[tuple[Any, ...]] = zip(*columns, strict=True) if columns else [()] * len(identifiers)
    pipelines = zip(_decode(content["roles"]), content["own"], strict=True)
    stages = [dict(zip(roles, own, strict=True)) for roles, own in pipelines]
    rows = zip(identifiers, content["name"], levels, stages, strict=True)
    return list(map(ExperimentRow._make, rows))


def _decode_stages(content: Encoded) -> list[StageRow]:
    coded = [_decode(content[name]) for name in ("kind", "shape", "affinity")]
    parents = map(tuple, content["parents"])
    rows = zip(content["stage"], coded[0], parents, coded[1], coded[2], content["cost"], strict=True)
    return list(map(StageRow._make, rows))


def _decode(column: Encoded) -> list[Any]:
    return list(map(column["values"].__getitem__, column["codes"]))
