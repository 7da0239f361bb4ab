"""Rows of data files: JSON lines, JSON arrays, CSV and Parquet, plain or gzipped."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workers.context import BadInput

Row = dict[str, Any]


def read_rows(path: Path) -> Iterator[Row]:
    """Every row of a file, in order; the name's ending tells the format.

    Raises:
        BadInput: there is no such file, its format is unknown, or a row cannot be parsed (the message names
        it).
    """
    if not path.is_file():
        raise BadInput(f"data file {path} does not exist")
    endings = [ending for ending in path.suffixes if ending != ".gz"]
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
                f"data file {path}: unknown format; allowed: .jsonl, .json, .csv, .parquet, .txt (and .gz)"
            )


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except (OSError, EOFError, ValueError) as error:
        raise BadInput(f"data file {path} cannot be read: {error}") from None


def _json_lines(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield _row(path, json.loads(line))
        except ValueError as error:
            raise BadInput(f"data file {path}, line {number}: not JSON ({error})") from None


def _json_array(path: Path) -> Iterator[Row]:
    """An array of rows, or (as some mirrors have it) one row a line under the name .json."""
    text = _text(path)
    if not text.lstrip().startswith("["):
        yield from _json_lines(path)
        return
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise BadInput(f"data file {path}: not JSON ({error})") from None
    yield from (_row(path, row) for row in rows)


def _row(path: Path, value: Any) -> Row:
    if not isinstance(value, dict):
        raise BadInput(f"data file {path}: a row is a {type(value).__name__}, not an object")
    return value


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow.parquet

    for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
        yield from batch.to_pylist()
