"""The columns of the store, explicit and versioned, and how older files come to fit them.

A column that a file lacks opens as nulls, a column that is no longer known is dropped, and a type that
was widened is cast. So every generation and every worker's file stays readable.
"""

import io
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from results.files import WorkspaceError, write_atomic

VERSION = 3
"""Raised whenever a column is added, removed or changes its meaning."""

_TEXT = pa.string()
_WHOLE = pa.int64()
_REAL = pa.float64()
_FLAG = pa.bool_()


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()), metadata={"yates_schema": str(VERSION)})


COMMITS = _schema(
    stage=_TEXT, kind=_TEXT, attempt=_TEXT, outcome=_TEXT, finished=_REAL, output_digest=_TEXT, message=_TEXT
)
"""One row per committed stage: the stage set of a generation and which attempt won each."""

METRICS = _schema(
    stage=_TEXT,
    kind=_TEXT,
    task=_TEXT,
    metric=_TEXT,
    value=_REAL,
    stderr=_REAL,
    n=_WHOLE,
    step=_WHOLE,
    unit=_TEXT,
    primary=_FLAG,
)
"""One row per figure of a committed stage. `step` is the optimizer step measured, null for the last."""

CURVES = _schema(stage=_TEXT, step=_WHOLE, name=_TEXT, value=_REAL)
"""What training logged, long format: one row per stage, step and name."""

SAMPLES = _schema(
    stage=_TEXT,
    task=_TEXT,
    item=_WHOLE,
    prompt=_TEXT,
    completion=_TEXT,
    reference=_TEXT,
    score=_REAL,
    verdict=_TEXT,
    tokens=_WHOLE,
    ended=_FLAG,
)
"""Prompts and what the model made of them: one row per stage, task and item.

`tokens` counts those of the completion before its end; `ended` tells whether it came to one.
"""

ATTEMPTS = _schema(
    stage=_TEXT,
    kind=_TEXT,
    token=_TEXT,
    number=_WHOLE,
    supervisor=_TEXT,
    host=_TEXT,
    process=_WHOLE,
    process_started=_REAL,
    boot=_TEXT,
    backend=_TEXT,
    job=_TEXT,
    started=_REAL,
    ended=_REAL,
    ending=_TEXT,
    step=_WHOLE,
    resumed_from=_WHOLE,
    message=_TEXT,
    traceback=_TEXT,
    fingerprint=_TEXT,
    execution=_TEXT,
    seconds_compute=_REAL,
    seconds_load=_REAL,
    seconds_save=_REAL,
    seconds_startup=_REAL,
    seconds_other=_REAL,
    peak_memory_bytes=_WHOLE,
    peak_gpu_memory_bytes=_WHOLE,
)
"""One row per ended attempt. Times in seconds (since the epoch, UTC); dictionaries as JSON."""

MEMBERS = _schema(experiment=_TEXT, study=_TEXT, role=_TEXT, position=_WHOLE, stage=_TEXT)
"""Which stages are an experiment's own, under which role, in pipeline order."""

PARENTS = _schema(stage=_TEXT, parent=_TEXT)
"""The graph of stages: one row per edge."""

_EXPERIMENT_FIXED = ("experiment", "name", "study", "scale", "preset", "grid", "status")
FIXED_COLUMNS = frozenset({*_EXPERIMENT_FIXED, "stages"})
"""Names that a factor or task cannot take in `experiments` and `runs`."""

TABLES: Mapping[str, pa.Schema] = {
    "commits": COMMITS,
    "metrics": METRICS,
    "curves": CURVES,
    "samples": SAMPLES,
    "attempts": ATTEMPTS,
    "members": MEMBERS,
    "parents": PARENTS,
}
"""The tables whose columns do not depend on the grids."""


def experiments_schema(factors: Mapping[str, pa.DataType]) -> pa.Schema:
    """The schema of `experiments`: fixed columns, one per factor, and `stages` (JSON of role to stage)."""
    columns = dict.fromkeys(_EXPERIMENT_FIXED, _TEXT)
    return _schema(**{**columns, **factors, "stages": _TEXT})


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with exactly the columns of `schema`: missing ones null, unknown ones dropped, types cast.

    Raises:
        pyarrow.ArrowInvalid: a column holds values that do not fit its type.
    """
    if table.schema.equals(schema):
        return table.replace_schema_metadata(schema.metadata)
    columns = [_column(table, column) for column in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def read_table(path: Path, schema: pa.Schema | None = None, columns: list[str] | None = None) -> pa.Table:
    """The Parquet file `path`, conformed to `schema` when one is given, cut to `columns` if any.

    Raises:
        FileNotFoundError: there is no such file.
        WorkspaceError: the file is damaged; the message names it.
    """
    if schema is not None and columns is not None:
        schema = pa.schema([schema.field(name) for name in columns], metadata=schema.metadata)
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            wanted = schema.names if schema is not None else columns
            present = None if wanted is None else [name for name in wanted if name in file.schema_arrow.names]
            table = file.read(columns=present)
        return table if schema is None else conform(table, schema)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise WorkspaceError(f"{path}: not readable as Parquet ({error})") from None


def read_stages(path: Path, schema: pa.Schema, columns: list[str], stages: AbstractSet[str]) -> pa.Table:
    """`columns` of the rows of `stages` in the Parquet file `path`, one row group at a time.

    Texts are read as the dictionaries that they are in the file, so that a few rows of millions cost no more than
    their numbers.

    Raises:
        FileNotFoundError: there is no such file.
        WorkspaceError: the file is damaged; the message names it.
    """
    cut = pa.schema([schema.field(name) for name in columns], metadata=schema.metadata)
    wanted = pa.array(stages, _TEXT)
    try:
        there = pq.read_schema(path).names
        present = [name for name in columns if name in there]
        texts = [name for name in present if schema.field(name).type == _TEXT]
        with pq.ParquetFile(path, read_dictionary=texts, page_checksum_verification=True) as file:
            parts = [
                conform(_of_stages(file.read_row_group(number, present), wanted), cut)
                for number in range(file.num_row_groups)
            ]
        return pa.concat_tables([cut.empty_table(), *parts])
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise WorkspaceError(f"{path}: not readable as Parquet ({error})") from None


def _of_stages(table: pa.Table, stages: pa.Array) -> pa.Table:
    encoded = table["stage"].unify_dictionaries().combine_chunks()
    if pa.types.is_dictionary(encoded.type):
        chosen = pc.is_in(encoded.dictionary, value_set=stages).take(encoded.indices)
    else:
        chosen = pc.is_in(encoded, value_set=stages)
    return table.filter(chosen)


def write_curves(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write `output/curves.parquet`: rows of `step`, `name`, `value`; `stage` may be left out.

    Raises:
        ValueError: a row has a column that the schema lacks, or a value of another type.
        OSError: the disk is full; `path` is unchanged.
    """
    _write_rows(path, list(rows), CURVES)


def write_samples(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write `output/samples.parquet`: one row per task and item.

    Columns are those of SAMPLES; `stage` and what is unknown may be left out.

    Raises:
        ValueError: a row has a column that the schema lacks, or a value of another type.
        OSError: the disk is full; `path` is unchanged.
    """
    _write_rows(path, list(rows), SAMPLES)


def _write_rows(path: Path, rows: list[Mapping[str, Any]], schema: pa.Schema) -> None:
    unknown = {name for row in rows for name in row} - set(schema.names)
    if unknown:
        raise ValueError(f"{path.name}: unknown columns {sorted(unknown)}; known are {schema.names}")
    try:
        table = pa.Table.from_pylist(rows, schema=schema)
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        raise ValueError(f"{path.name}: {error}") from None
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_atomic(path, buffer.getvalue())


def _column(table: pa.Table, column: pa.Field) -> pa.ChunkedArray | pa.Array:
    if column.name not in table.schema.names:
        return pa.nulls(table.num_rows, column.type)
    found = table.column(column.name)
    return found if found.type == column.type else found.cast(column.type)
