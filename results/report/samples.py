"""The first samples of every stage and task, with their texts made fit to be shown."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from results.studies.side_by_side import LONGEST, printable

TEXTS = ("prompt", "completion", "reference")
SHOWN = ("task", "item", *TEXTS, "score", "verdict")


def first_samples(pieces: Iterable[pa.Table], most: int) -> dict[str, list[dict[str, Any]]]:
    """By stage the first `most` samples of each task, in the order of tasks and items.

    `pieces` are parts of the table `samples`; no more than one of them is held at a time.
    """
    kept = [_first(piece, most) for piece in pieces]
    if not kept:
        return {}
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in _first(pa.concat_tables(kept), most).to_pylist():
        found[row["stage"]].append(_shown(row))
    return found


def _first(table: pa.Table, most: int) -> pa.Table:
    stage, task = (_numbers(table, name) for name in ("stage", "task"))
    order = np.lexsort((table["item"].fill_null(0).to_numpy(), task, stage))
    stage, task = stage[order], task[order]
    begins = np.concatenate([[True], (np.diff(stage) != 0) | (np.diff(task) != 0)])
    starts = np.flatnonzero(begins)
    rank = np.arange(len(order)) - starts[np.cumsum(begins) - 1]
    return table.take(pa.array(order[rank < most])).combine_chunks()


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    encoded = table[name].combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.int64)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """What is known of a sample; control characters are written out, long texts cut."""
    kept = {name: row[name] for name in SHOWN if row[name] is not None}
    for name in TEXTS:
        text = kept.get(name)
        if text is not None and not (text.isprintable() and len(text) <= LONGEST):
            kept[name] = printable(text)
    score = kept.get("score")
    if score is not None:
        kept["score"] = float(f"{score:.4g}") if np.isfinite(score) else None
    return kept
