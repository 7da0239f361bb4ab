"""What the page of one experiment shows of its stages: curves, samples, attempts and recipes, as far as they fit."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from results.files import WorkspaceError, read_json_or_none
from results.report.curves import thinned_curves
from results.report.grouping import Group
from results.report.packing import Chunks, json_text, packed
from results.report.samples import first_samples
from results.report.source import Source

STAGES_A_CHUNK = 24
MOST_EXPERIMENTS = 8000
"""Experiments whose details are looked at; more do not fit a file of any sensible size."""

ATTEMPT = (
    "number",
    "host",
    "backend",
    "job",
    "started",
    "ended",
    "ending",
    "step",
    "resumed_from",
    "message",
    "traceback",
    "seconds_compute",
    "peak_memory_bytes",
    "peak_gpu_memory_bytes",
    "fingerprint",
    "execution",
)
LONGEST_TRACEBACK = 4000


@dataclass
class Details:
    """Where the details of each experiment lie, and which did not fit.

    `places` has an item an experiment, in the group's order: a list of (role, number of a stage), or None where the
    details were left out. Stage `n` is number `n % STAGES_A_CHUNK` of the packed text `n // STAGES_A_CHUNK`.
    """

    places: list[list[tuple[str, int]] | None] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def as_index(self, chunks: Chunks) -> dict[str, Any]:
        """What the page must know to find the details of an experiment; the texts go to `chunks`."""
        held = sum(place is not None for place in self.places)
        return {
            "stagesAChunk": STAGES_A_CHUNK,
            "chunks": [chunks.append(text) for text in self.texts],
            "held": held,
            "places": chunks.add_json(self.places),
        }


def details_of(group: Group, source: Source, budget: int, samples: bool) -> Details:
    """Pack the details of as many experiments of `group` as fit into `budget` characters.

    Those that failed or diverged come first, the others spread evenly over the grid. `samples` tells whether what
    models wrote may be in the file at all. `source` is the group's workspace, as it is now.
    """
    rows = _by_importance(group.experiments["status"].to_pylist())
    pipelines = _pipelines(group, source)
    stages = list(dict.fromkeys(stage for row in rows for _, stage in pipelines[row]))
    found = Details(places=[None] * group.experiments.num_rows)
    for text in _packed_chunks(source, stages, len(rows), samples):
        budget -= len(text)
        if budget < 0:
            break
        found.texts.append(text)
    number = {stage: place for place, stage in enumerate(stages[: len(found.texts) * STAGES_A_CHUNK])}
    for row in rows:
        if all(stage in number for _, stage in pipelines[row]):
            found.places[row] = [(role, number[stage]) for role, stage in pipelines[row]]
    return found


def _by_importance(statuses: list[str]) -> list[int]:
    """Rows of experiments in the order in which their details are wanted, MOST_EXPERIMENTS at most."""
    ended_badly = [row for row, status in enumerate(statuses) if status in ("failed", "diverged")]
    bad = set(ended_badly)
    others = [row for row in range(len(statuses)) if row not in bad]
    room = max(MOST_EXPERIMENTS - len(bad), 0)
    if len(others) > room:
        others = [others[place] for place in np.linspace(0, len(others) - 1, room).astype(int)]
    return [*ended_badly[:MOST_EXPERIMENTS], *others]


def _pipelines(group: Group, source: Source) -> dict[int, list[tuple[str, str]]]:
    """The own stages of each experiment by its row: (role, stage), in pipeline order."""
    members = source.members
    rows = pc.index_in(members["experiment"], value_set=group.experiments["experiment"])
    found: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for row, role, stage in zip(
        rows.to_pylist(), members["role"].to_pylist(), members["stage"].to_pylist(), strict=True
    ):
        if row is not None:
            found[row].append((role, stage))
    return found


def _packed_chunks(source: Source, stages: list[str], experiments: int, samples: bool) -> Iterator[str]:
    wanted = pa.array(stages, pa.string())
    points = int(np.clip(40_000 / max(experiments, 1), 24, 120))
    curves = thinned_curves(source.rows_of("curves", wanted), wanted, points)
    texts = first_samples(source.rows_of("samples", wanted), 6 if experiments <= 2000 else 3)
    attempts, parents = _attempts(source, wanted), _parents(source, wanted)
    kinds = {row.stage: row.kind for plan in source.plans for row in plan.stages}
    for first in range(0, len(stages), STAGES_A_CHUNK):
        part = [
            {
                "id": stage,
                "kind": kinds.get(stage, ""),
                "parents": [[kinds.get(one, ""), one] for one in parents.get(stage, ())],
                "attempts": attempts.get(stage, []),
                "curves": curves.get(stage, []),
                "samples": texts.get(stage, []) if samples else [],
                "recipe": _recipe(source, stage),
            }
            for stage in stages[first : first + STAGES_A_CHUNK]
        ]
        yield packed(json_text(part).encode())


def _attempts(source: Source, stages: pa.Array) -> dict[str, list[Mapping[str, Any]]]:
    table = source.attempts
    table = table.filter(pc.is_in(table["stage"], value_set=stages)).select(["stage", *ATTEMPT])
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in table.to_pylist():
        found[row["stage"]].append(_attempt(row))
    for records in found.values():
        records.sort(key=lambda record: record.get("number", 0))
    return found


def _attempt(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of an attempt, its times rounded to milliseconds."""
    kept = {name: value for name, value in row.items() if name != "stage" and value is not None}
    for name, value in kept.items():
        if isinstance(value, float):
            kept[name] = round(value, 3)
    if "traceback" in kept:
        kept["traceback"] = kept["traceback"][-LONGEST_TRACEBACK:]
    return kept


def _parents(source: Source, stages: pa.Array) -> dict[str, list[str]]:
    table = source.parents.filter(pc.is_in(source.parents["stage"], value_set=stages))
    found: dict[str, list[str]] = defaultdict(list)
    for stage, parent in _pairs(table):
        found[stage].append(parent)
    return found


def _pairs(table: pa.Table) -> Iterable[tuple[str, str]]:
    return zip(table["stage"].to_pylist(), table["parent"].to_pylist(), strict=True)


def _recipe(source: Source, stage: str) -> Any:
    """What the stage was told to do, or None where its file is gone or damaged."""
    try:
        content = read_json_or_none(source.workspace.stage_file(stage))
    except (WorkspaceError, OSError):
        return None
    return content.get("recipe") if isinstance(content, dict) else None
