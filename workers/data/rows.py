"""Rows of data files: JSON lines, JSON arrays, CSV and Parquet, plain or compressed by gzip or xz."""

import csv
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from workers.context import BadInput

Row = dict[str, Any]
COMPRESSED = (".gz", ".xz")


def read_rows(path: Path) -> Iterator[Row]:
    """Every row of a file, in order; the name's ending tells the format. Lines are read as they are asked for.

    Raises:
        BadInput: there is no such file, its format is unknown, or a row cannot be parsed (the message names
        it).
    """
    if not path.is_file():
        raise BadInput(f"data file {path} does not exist")
    endings = [ending for ending in path.suffixes if ending not in COMPRESSED]
    match endings[-1] if endings else "":
        case ".jsonl":
            yield from _json_lines(path)
        case ".json":
            yield from _json_array(path)
        case ".csv":
            yield from csv.DictReader(io.StringIO(_text(path)))
        case ".parquet":
            yield from _parquet(path)
        case ".txt":
            yield {"text": _text(path)}
        case _:
            raise BadInput(
                f"data file {path}: unknown format; allowed: .jsonl, .json, .csv, .parquet, .txt (and .gz, .xz)"
            )


def _open(path: Path) -> IO[str]:
    match path.suffix:
        case ".gz":
            return gzip.open(path, "rt", encoding="utf-8-sig", newline="\n")
        case ".xz":
            return lzma.open(path, "rt", encoding="utf-8-sig", newline="\n")
    return path.open(encoding="utf-8-sig", newline="\n")


def _lines(path: Path) -> Iterator[str]:
    try:
        with _open(path) as stream:
            yield from stream
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
        raise BadInput(f"data file {path} cannot be read: {error}") from None


def _text(path: Path) -> str:
    return "".join(_lines(path))


def _json_lines(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise BadInput(f"data file {path}, line {number}: not JSON ({error})") from None
        yield _row(path, value)


def _json_array(path: Path) -> Iterator[Row]:
    """An array of rows, or (as some mirrors have it) one row a line under the name .json."""
    start = next((line.lstrip() for line in _lines(path) if line.strip()), "")
    if not start.startswith("["):
        yield from _json_lines(path)
        return
    try:
        rows = json.loads(_text(path))
    except ValueError as error:
        raise BadInput(f"data file {path}: not JSON ({error})") from None
    yield from (_row(path, row) for row in rows)


def _row(path: Path, value: Any) -> Row:
    if not isinstance(value, dict):
        raise BadInput(f"data file {path}: a row is a {type(value).__name__}, not an object")
    return value


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise BadInput(f"data file {path} cannot be read: {error}") from None
