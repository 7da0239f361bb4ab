"""Curves thinned to as many points as a small picture can show."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Curves = dict[str, list[list[Any]]]


def thinned_curves(pieces: Iterable[pa.Table], stages: pa.Array, points: int) -> Curves:
    """By stage its curves, each `[name, steps, values]` with at most `points` points, four significant digits.

    `pieces` are parts of the table `curves`. The first and the last point of a curve stay; what is not a finite number
    is None.
    """
    names: dict[str, int] = {}
    columns = [_coded(piece, stages, names) for piece in pieces]
    if not columns:
        return {}
    stage, name, step, value = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    order = np.lexsort((step, name, stage))
    stage, name, step, value = stage[order], name[order], step[order], value[order]
    changes = np.flatnonzero((np.diff(stage) != 0) | (np.diff(name) != 0)) + 1
    starts = np.concatenate([[0], changes, [len(stage)]])
    found: Curves = defaultdict(list)
    known, identifiers = list(names), stages.to_pylist()
    for start, end in pairwise(starts.tolist()):
        chosen = start + _spread(end - start, points)
        curve = [known[name[start]], step[chosen].tolist(), [_short(one) for one in value[chosen].tolist()]]
        found[identifiers[stage[start]]].append(curve)
    return found


def _coded(piece: pa.Table, stages: pa.Array, names: dict[str, int]) -> tuple[np.ndarray, ...]:
    """Numbers for stages and names (new ones are added to `names`), steps and values."""
    encoded = piece["name"].combine_chunks().dictionary_encode()
    numbers = np.array([names.setdefault(name, len(names)) for name in encoded.dictionary.to_pylist()], int)
    return (
        pc.index_in(piece["stage"], value_set=stages).to_numpy(),
        numbers[encoded.indices.to_numpy(zero_copy_only=False)],
        piece["step"].fill_null(0).to_numpy(),
        np.asarray(piece["value"].to_numpy(), np.float64),
    )


def _spread(count: int, points: int) -> np.ndarray:
    """Positions of at most `points` of `count` points, evenly spread from the first to the last."""
    if count <= points:
        return np.arange(count)
    return np.linspace(0, count - 1, points).round().astype(np.int64)


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None
