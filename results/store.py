"""Compaction: the newest generation and everything committed since become the next generation.

Any number of compactors may run, and any of them may die at any moment: a generation is built under a
private name and appears by one rename, so readers see the old one whole or the new one whole, and a
compactor whose number is taken discards its work.
"""

import os
import shutil
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from results.collector import collector_paused
from results.files import WorkspaceError
from results.generation import (
    Generation,
    Manifest,
    TableFacts,
    building,
    point_latest,
    publish,
    sweep,
    table_facts,
)
from results.layout import Workspace
from results.schema import TABLES, VERSION
from results.snapshot import Snapshot, manifest_paths, take, take_from_truth

_ROW_GROUP = 1 << 18


def compact(workspace: Workspace, held: AbstractSet[str] = frozenset()) -> Generation | None:
    """Publish what is true now as the next generation.

    Returns the generation that holds it: the newest one as it is when nothing is new, or None when
    another compactor published first (its generation may lack the latest commits; the next one has them).
    Files that could not be read are named in `Generation.damaged` and looked at again next time; a
    generation that is itself damaged is made again from the stages' directories.

    Raises:
        OSError: the disk is full or not writable; the generation before is untouched.
    """
    try:
        with collector_paused():
            snapshot = take(workspace, held)
            if snapshot.news:
                return _build(snapshot)
            if snapshot.base is None or not snapshot.base.damaged_tables():
                point_latest(workspace)
                return snapshot.base
        return rebuild(workspace, held)
    except (WorkspaceError, FileNotFoundError):
        return rebuild(workspace, held)


def rebuild(workspace: Workspace, held: AbstractSet[str] = frozenset()) -> Generation | None:
    """Publish a generation made from every `done.json` on disk, as if there were no store.

    Raises:
        OSError: the disk is full or not writable; the generation before is untouched.
    """
    return _build(take_from_truth(workspace, held))


def _build(snapshot: Snapshot) -> Generation | None:
    workspace = snapshot.workspace
    with building(workspace) as directory:
        tables = _write_tables(snapshot, directory)
        published = publish(workspace, directory, _manifest(snapshot, tables))
        if published is not None:
            sweep(workspace, now=(published.path / "manifest.json").stat().st_mtime)
    point_latest(workspace)
    return published


def _write_tables(snapshot: Snapshot, directory: Path) -> dict[str, TableFacts]:
    known = snapshot.catalog
    whole = {"experiments": known.experiments, "members": known.members, "parents": known.parents}
    facts = {name: _write(directory / f"{name}.parquet", [table]) for name, table in whole.items()}
    for name in TABLES.keys() - whole.keys():
        facts[name] = _linked(snapshot, name, directory) or _write(
            directory / f"{name}.parquet", snapshot.batches(name), TABLES[name]
        )
    facts["runs"] = _write(directory / "runs.parquet", [snapshot.runs()])
    return facts


def _linked(snapshot: Snapshot, name: str, directory: Path) -> TableFacts | None:
    """Take over a file of the generation before that stays as it is: published files never change.

    Raises:
        WorkspaceError: something changed it all the same.
    """
    if snapshot.base is None or not snapshot.unchanged(name):
        return None
    source, target = snapshot.base.table(name), directory / f"{name}.parquet"
    if not snapshot.base.sound(name):
        raise WorkspaceError(f"{source}: not what was published")
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return snapshot.base.manifest["tables"][name]


def _write(path: Path, pieces: Iterable[pa.Table], schema: pa.Schema | None = None) -> TableFacts:
    """Write `pieces` as one Parquet file; strings become dictionaries where that is shorter."""
    remaining = iter(pieces)
    first = next(remaining, None)
    schema = schema or (first.schema if first is not None else pa.schema([]))
    rows = 0
    options = {"compression": "zstd", "compression_level": 1, "write_page_checksum": True}
    with pq.ParquetWriter(path, schema, **options) as writer:
        for piece in _gathered(first, remaining):
            writer.write_table(piece.replace_schema_metadata(schema.metadata), _ROW_GROUP)
            rows += piece.num_rows
    return table_facts(path, rows)


def _gathered(first: pa.Table | None, remaining: Iterable[pa.Table]) -> Iterable[pa.Table]:
    """Pieces joined until a row group is full, so that thousands of small ones make few groups."""
    waiting: list[pa.Table] = [] if first is None else [first]
    for piece in remaining:
        if sum(table.num_rows for table in waiting) >= _ROW_GROUP:
            yield pa.concat_tables(waiting)
            waiting = []
        waiting.append(piece)
    if waiting:
        yield pa.concat_tables(waiting)


def _manifest(snapshot: Snapshot, tables: dict[str, TableFacts]) -> Manifest:
    return {
        "number": snapshot.number,
        "schema": VERSION,
        "plans": snapshot.plans,
        "offsets": snapshot.index.offsets,
        "open": snapshot.index.open,
        "endings": snapshot.endings,
        "revisit": sorted(snapshot.fresh.revisit),
        "damaged": manifest_paths(snapshot),
        "stages": tables["commits"]["rows"],
        "tables": tables,
    }


def compact_fully(
    workspace: Workspace, held: frozenset[str] = frozenset(), tries: int = 20
) -> Generation | None:
    """`compact` until everything committed before the call is in a generation, whoever published it."""
    for _ in range(tries):
        generation = compact(workspace, held)
        if generation is not None:
            return generation
    return None
