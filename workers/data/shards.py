"""Token ids on disk: NumPy arrays of unsigned integers, one a shard, read through memory maps.

tokens/header.json                 {"version": 1, "vocabulary": …, "tokens": {"train": […], "validation": […]}}
tokens/train/00000.npy             one-dimensional, uint16 or uint32
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy
import torch

from results.files import WorkspaceError, json_bytes, read_json, write_atomic
from workers.context import BadInput
from workers.outputs import file_digest

HEADER = "header.json"
VERSION = 1
Array = numpy.ndarray[Any, numpy.dtype[Any]]


def token_type(vocabulary: int) -> "numpy.dtype[Any]":
    """The smallest unsigned type that holds every id."""
    return numpy.dtype("<u2" if vocabulary <= 1 << 16 else "<u4")


class ShardWriter:
    """Writes the ids of one split, in order, as shards of `size` tokens; the last may be shorter.

    `digests` are the checksums of the shards that are written.
    """

    def __init__(self, directory: Path, dtype: "numpy.dtype[Any]", size: int) -> None:
        self.directory, self._dtype, self._size = directory, dtype, size
        self.lengths: list[int] = []
        self.digests: list[str] = []
        self._rest = numpy.empty(0, dtype)
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def tokens(self) -> int:
        """How many ids were added."""
        return sum(self.lengths) + len(self._rest)

    @property
    def rest(self) -> Array:
        """The ids that no shard holds yet."""
        return self._rest

    def add(self, ids: Sequence[int]) -> None:
        """Append ids."""
        self._rest = numpy.concatenate([self._rest, numpy.asarray(ids, self._dtype)])
        while len(self._rest) >= self._size:
            self._write(self._rest[: self._size])
            self._rest = self._rest[self._size :]

    def finish(self) -> None:
        """Write the last shard."""
        if len(self._rest):
            self._write(self._rest)
            self._rest = self._rest[:0]

    def restore(self, lengths: list[int], digests: list[str], rest: Array) -> None:
        """Go on after shards that lie in the directory already."""
        self.lengths, self.digests, self._rest = list(lengths), list(digests), rest.astype(self._dtype)

    def _write(self, ids: Array) -> None:
        path = self.directory / shard_name(len(self.lengths))
        numpy.save(path, ids)
        self.lengths.append(len(ids))
        self.digests.append(file_digest(path))


def shard_name(number: int) -> str:
    """The file of a shard."""
    return f"{number:05d}.npy"


def write_header(directory: Path, vocabulary: int, splits: dict[str, ShardWriter]) -> None:
    """Write what a reader has to know, last of all."""
    tokens = {name: writer.lengths for name, writer in splits.items()}
    content = {"version": VERSION, "vocabulary": vocabulary, "tokens": tokens}
    write_atomic(directory / HEADER, json_bytes(content))


class TokenBlocks(Sequence[torch.Tensor]):
    """The blocks of `size` ids of one split, int64, one after another; the rest that fills no block is left out.

    Raises:
        BadInput: there are no such shards, they were made for another vocabulary, or they fill no block.
    """

    def __init__(self, directory: Path, split: str, size: int, vocabulary: int) -> None:
        lengths = _lengths(directory, split, vocabulary)
        self._size = size
        self._ends = list(accumulate(lengths))
        paths = [directory / split / shard_name(number) for number in range(len(lengths))]
        self._shards = [numpy.load(path, mmap_mode="r", allow_pickle=False) for path in paths]
        self._count = (self._ends[-1] if lengths else 0) // size
        if self._count == 0:
            raise BadInput(f"{directory}: the tokens of split {split!r} do not fill one block of {size}")

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(self._count))]
        if not -self._count <= place < self._count:
            raise IndexError(place)
        return torch.from_numpy(self._read(place % self._count * self._size))

    def _read(self, start: int) -> Array:
        """The ids from `start` on, across the ends of shards."""
        found = numpy.empty(self._size, numpy.int64)
        done = 0
        shard = bisect_right(self._ends, start)
        while done < self._size:
            begin = start + done - (self._ends[shard - 1] if shard else 0)
            part = self._shards[shard][begin : begin + self._size - done]
            found[done : done + len(part)] = part
            done += len(part)
            shard += 1
        return found


def _lengths(directory: Path, split: str, vocabulary: int) -> list[int]:
    try:
        header = read_json(directory / HEADER)
        lengths = header["tokens"].get(split)
    except (OSError, WorkspaceError, KeyError, TypeError, AttributeError):
        raise BadInput(
            f"{directory} holds no readable {HEADER}: it was not left by a `tokenize` stage"
        ) from None
    if header["vocabulary"] != vocabulary:
        raise BadInput(
            f"{directory}: its ids are of a vocabulary of {header['vocabulary']}, the tokenizer has {vocabulary}"
        )
    if not lengths:
        known = ", ".join(name for name, found in header["tokens"].items() if found)
        raise BadInput(f"{directory}: no tokens of split {split!r}; there are: {known or 'none'}")
    return [int(length) for length in lengths]
