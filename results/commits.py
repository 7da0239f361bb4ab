"""From commits on disk (`done.json` and what lies beside it) to rows of the store.

Hundreds of thousands of small files are read in chunks, so that memory holds one chunk of parsed JSON and
otherwise Arrow tables. A damaged file costs its own rows, never the others'.
"""

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from results.collector import collector_paused
from results.files import WorkspaceError, parse_record
from results.layout import Workspace
from results.records import AttemptRecord, Commit
from results.schema import ATTEMPTS, COMMITS, METRICS, TABLES, read_table

_CHUNK = 4096
_JSON = json.JSONEncoder(sort_keys=True)
_PORTION = 64
_READERS = 4
_NOT_A_ROW = (pa.ArrowException, TypeError, AttributeError, KeyError, ValueError, OverflowError)
_SECONDS = ("compute", "load", "save", "startup", "other")

Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass
class Fresh:
    """Rows of commits that a generation does not hold.

    `missing` are stages asked for that have no commit, `damaged` maps each unreadable file to the reason,
    and `revisit` names the stages whose files those are. `outputs` lists what the winning attempts left
    (stage, token, file names), once someone has looked.
    """

    commits: pa.Table = field(default_factory=COMMITS.empty_table)
    metrics: pa.Table = field(default_factory=METRICS.empty_table)
    attempts: pa.Table = field(default_factory=ATTEMPTS.empty_table)
    missing: set[str] = field(default_factory=set)
    damaged: dict[str, str] = field(default_factory=dict)
    revisit: set[str] = field(default_factory=set)
    outputs: list[tuple[str, str, list[str]]] | None = None


def read_commits(workspace: Workspace, stages: Iterable[str], known: Mapping[str, str]) -> Fresh:
    """Read `done.json` of `stages`; those whose winning attempt is the one in `known` are left out."""
    fresh = Fresh()
    parts: list[tuple[pa.Table, pa.Table, pa.Table]] = []
    with ThreadPoolExecutor(_READERS) as readers, collector_paused():
        for chunk in _chunks(sorted(stages)):
            contents = list(_in_threads(readers, lambda stage: _content(workspace, stage), chunk))
            commits = list(_parsed(workspace, zip(chunk, contents, strict=True), known, fresh))
            parts.append(_tables(workspace, commits, fresh))
    if parts:
        fresh.commits, fresh.metrics, fresh.attempts = map(pa.concat_tables, zip(*parts, strict=True))
    return fresh


def attempts_table(records: Sequence[AttemptRecord]) -> pa.Table:
    """Attempt records flattened, one row each; a record that does not fit the schema is left out."""
    table, _ = _build(records, _attempt_rows, ATTEMPTS, lambda record: "")
    return table


def committed_stages(workspace: Workspace) -> Iterator[str]:
    """Ids of all stages that have a `done.json`, found by looking at every stage's directory."""
    for directory in _stage_directories(workspace):
        if (directory / "done.json").exists():
            yield directory.name


def ended_attempts(workspace: Workspace) -> Iterator[AttemptRecord]:
    """The records of all attempts on disk that ended, readable ones only."""
    for directory in _stage_directories(workspace):
        for path in (directory / "attempts").glob("*/attempt.json"):
            record = _json_or_none(path)
            if isinstance(record, dict) and record.get("ended") is not None:
                yield record  # type: ignore[misc]


def read_outputs(workspace: Workspace, name: str, commits: pa.Table, fresh: Fresh) -> Iterator[pa.Table]:
    """Tables `name` (curves or samples) that the attempts in `commits` wrote, a few hundred stages at a time.

    An unreadable file is noted in `fresh` and costs its own rows only.
    """
    with ThreadPoolExecutor(_READERS) as readers:
        if fresh.outputs is None:
            pairs = list(zip(commits["stage"].to_pylist(), commits["attempt"].to_pylist(), strict=True))
            names = _in_threads(readers, lambda pair: _names(workspace.output(*pair)), pairs)
            fresh.outputs = [(*pair, found) for pair, found in zip(pairs, names, strict=True) if found]
        wanted = [(stage, token) for stage, token, names in fresh.outputs if f"{name}.parquet" in names]
        for chunk in _chunks(wanted, 512):
            found = _in_threads(readers, lambda pair: _output(workspace, name, *pair), chunk)
            yield from _good_outputs(chunk, found, fresh)


def _good_outputs(
    pairs: Sequence[tuple[str, str]], found: Iterable[pa.Table | WorkspaceError | None], fresh: Fresh
) -> Iterator[pa.Table]:
    tables = []
    for (stage, _), output in zip(pairs, found, strict=True):
        if isinstance(output, WorkspaceError):
            fresh.damaged[str(output).split(": ", 1)[0]] = str(output).split(": ", 1)[-1]
            fresh.revisit.add(stage)
        elif output is not None:
            tables.append(output)
    if tables:
        yield pa.concat_tables(tables)


def _output(workspace: Workspace, name: str, stage: str, token: str) -> pa.Table | WorkspaceError | None:
    path, schema = workspace.output(stage, token).joinpath(f"{name}.parquet"), TABLES[name]
    try:
        table = read_table(path, schema)
    except FileNotFoundError:
        return None
    except WorkspaceError as error:
        return error
    stages = pa.repeat(pa.scalar(stage, schema.field("stage").type), table.num_rows)
    return table.set_column(schema.get_field_index("stage"), schema.field("stage"), stages)


def _names(directory: Path) -> list[str]:
    try:
        return [path.name for path in directory.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _content(workspace: Workspace, stage: str) -> bytes | OSError:
    """The bytes of one commit, by system calls alone: a buffered file object costs twice the time."""
    try:
        descriptor = os.open(workspace.done_file(stage), os.O_RDONLY)
        try:
            size = os.fstat(descriptor).st_size + 1
            return b"".join(iter(lambda: os.read(descriptor, size), b""))
        finally:
            os.close(descriptor)
    except OSError as error:
        return error


def _parsed(
    workspace: Workspace,
    contents: Iterable[tuple[str, bytes | OSError]],
    known: Mapping[str, str],
    fresh: Fresh,
) -> Iterator[Commit]:
    for stage, content in contents:
        if isinstance(content, FileNotFoundError | NotADirectoryError):
            fresh.missing.add(stage)
            continue
        try:
            commit = _commit(stage, content)
        except (ValueError, OSError) as error:
            _note(workspace, fresh, stage, str(error))
            continue
        if known.get(stage) != commit["attempt"]:
            yield commit


def _commit(stage: str, content: bytes | OSError) -> Commit:
    if isinstance(content, OSError):
        raise content
    commit: Commit = parse_record(content)
    if not isinstance(commit, dict) or commit.get("stage") != stage:
        raise ValueError("is not the commit of this stage")
    if not isinstance(commit.get("attempt"), str) or commit.get("outcome") not in ("done", "diverged"):
        raise ValueError("names no attempt or no known outcome")
    return commit


def _tables(
    workspace: Workspace, commits: Sequence[Commit], fresh: Fresh
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Commits, metrics and attempts of one chunk; a commit counts only if its metric rows all fit."""
    metrics, misfits = _build(commits, _metric_rows, METRICS, lambda commit: commit["stage"])
    for stage, reason in misfits.items():
        _note(workspace, fresh, stage, reason)
    good = [commit for commit in commits if commit["stage"] not in misfits]
    winners, odd = _build(good, _commit_rows, COMMITS, lambda commit: commit["stage"])
    for stage, reason in odd.items():
        _note(workspace, fresh, stage, reason)
    if odd:
        return _tables(workspace, [commit for commit in good if commit["stage"] not in odd], fresh)
    return winners, metrics, attempts_table([commit["record"] for commit in good if commit.get("record")])


def _note(workspace: Workspace, fresh: Fresh, stage: str, reason: str) -> None:
    fresh.damaged[str(workspace.done_file(stage))] = reason
    fresh.revisit.add(stage)


def _build(
    items: Sequence[Item],
    rows: Callable[[Item], list[dict[str, Any]]],
    schema: pa.Schema,
    name: Callable[[Item], str],
) -> tuple[pa.Table, dict[str, str]]:
    """The rows of all `items` as one table, and what is wrong with the items that do not fit.

    All at once first; one by one only when that fails, to find out which.
    """
    try:
        return _arrow([row for item in items for row in rows(item)], schema), {}
    except _NOT_A_ROW:
        tables, misfits = [schema.empty_table()], {}
        for item in items:
            try:
                tables.append(_arrow(rows(item), schema))
            except _NOT_A_ROW as error:
                misfits[name(item)] = repr(error)
        return pa.concat_tables(tables), misfits


def _arrow(rows: Collection[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    columns = [pa.array(_cells(rows, column.name), column.type) for column in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _cells(rows: Collection[Mapping[str, Any]], name: str) -> list[Any]:
    try:
        return list(map(itemgetter(name), rows))
    except KeyError:
        return [row.get(name) for row in rows]


def _metric_rows(commit: Commit) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = commit["metrics"]  # type: ignore[assignment]
    both = {"stage": commit["stage"], "kind": commit["kind"]}
    for row in rows:
        row.update(both)
    return rows


def _commit_rows(commit: Commit) -> list[dict[str, Any]]:
    return [commit]  # type: ignore[list-item]


def _attempt_rows(record: AttemptRecord) -> list[dict[str, Any]]:
    seconds = record.get("seconds") or {}
    flat: dict[str, Any] = {**record, **{f"seconds_{part}": seconds.get(part) for part in _SECONDS}}
    for name in ("fingerprint", "execution"):
        flat[name] = _JSON.encode(record.get(name) or {})
    if not flat.get("token"):
        raise ValueError("an attempt without a token")
    return [flat]


def _stage_directories(workspace: Workspace) -> Iterator[Path]:
    for shard in _directories(workspace.stages):
        yield from _directories(shard)


def _directories(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir() and entry.name[0] != ".")
    except FileNotFoundError:
        return []


def _json_or_none(path: Path) -> Any:
    try:
        return parse_record(path.read_bytes())
    except (OSError, ValueError):
        return None


def _in_threads(
    readers: ThreadPoolExecutor, read: Callable[[Item], Found], items: Sequence[Item]
) -> Iterator[Found]:
    """`read` of all `items` in their order; threads hide the latency of a network filesystem.

    Take the whole answer before working on it: threads that only wait for the interpreter's lock are slow.
    """
    portions = _chunks(items, _PORTION)
    for found in readers.map(lambda portion: [read(item) for item in portion], portions):
        yield from found


def _chunks(items: Iterable[Item], size: int = _CHUNK) -> Iterator[list[Item]]:
    remaining = iter(items)
    while chunk := list(islice(remaining, size)):
        yield chunk
