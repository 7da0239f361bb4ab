"""Log-probabilities of continuations, batched.

Rows that begin alike, such as the questions of a subject after the same examples, are scored on top of their
shared beginning, which is read once: `prefixes` says when. Figures then differ by rounding alone, and the
choice follows from requests and architecture, so that equal recipes give equal bits.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from workers.evaluation.answers import Answers
from workers.evaluation.batches import Tokens, batched, longest_first, right_padded
from workers.evaluation.forward import logits_at
from workers.evaluation.prefix_cache import SharedPrefix, shares_prefixes
from workers.evaluation.prefixes import shared_prefixes

CHUNK = 1 << 24
"""Most logits (64 MiB as float32) that are normalised at once."""


@dataclass(frozen=True)
class Scored:
    """A continuation's summed log-probability in nats, and whether greedy decoding would give it."""

    log_probability: float
    greedy: bool


@dataclass(frozen=True)
class Row:
    """A row of a batch: what the model reads, and the continuations scored on it.

    A continuation of k tokens is predicted at the last k positions of `tokens`; its own last token is not
    read, so continuations that differ in nothing else share a row.
    """

    tokens: tuple[int, ...]
    continuations: list[tuple[int, Tokens]]

    @property
    def head(self) -> tuple[int, ...]:
        """The tokens before the first one whose logits are needed."""
        return self.tokens[: len(self.tokens) - max(len(line) for _, line in self.continuations)]

    def after(self, length: int) -> "Row":
        """What is left to read after the first `length` tokens of the head."""
        return Row(self.tokens[length:], self.continuations)


def _rows(requests: Sequence[tuple[Tokens, Tokens]]) -> list[Row]:
    """Rows for (context, continuation) requests, equal ones once, longest first."""
    rows: dict[tuple[int, ...], Row] = {}
    for place, (context, continuation) in enumerate(requests):
        if not context or not continuation:
            raise ValueError("a scored request needs a context and a continuation of one token or more")
        tokens = (*context, *continuation[:-1])
        rows.setdefault(tokens, Row(tokens, [])).continuations.append((place, continuation))
    found = list(rows.values())
    return [found[place] for place in longest_first([row.tokens for row in found])]


class Scorer:
    """Scores continuations with `model`, `batch_size` rows at a time.

    Deterministic: order and batches follow from the requests. `micro_batch` computes a batch in parts where
    memory is short. `compute` surrounds what counts as computing.
    """

    def __init__(
        self,
        model: Any,
        batch_size: int,
        micro_batch: int | None = None,
        compute: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.model = model
        self.batch_size = batch_size
        self.micro_batch = min(micro_batch or batch_size, batch_size)
        self._compute = compute

    def score(self, requests: Sequence[tuple[Tokens, Tokens]], answers: Answers) -> list[Scored]:
        """One `Scored` for each (context, continuation), in their order.

        ValueError for an empty context or continuation.
        """
        scored: list[Scored | None] = [None] * len(requests)
        for prefix, rows in self._groups(_rows(requests)):
            for batch in batched(rows, self.batch_size):
                places = [place for row in batch for place, _ in row.continuations]
                figures = answers.ask(len(places), partial(self._figures, batch, prefix))
                for place, (log_probability, greedy) in zip(places, figures, strict=True):
                    scored[place] = Scored(log_probability, bool(greedy))
        return [item for item in scored if item is not None]

    def _groups(self, rows: list[Row]) -> Iterator[tuple[SharedPrefix | None, list[Row]]]:
        """Rows on top of each shared prefix, then the rows that share none; each longest first."""
        groups = shared_prefixes([row.head for row in rows], [len(row.tokens) for row in rows])
        if not groups or not shares_prefixes(self.model):
            yield None, rows
            return
        for group in groups:
            prefix = SharedPrefix(self.model, rows[group.places[0]].tokens[: group.length])
            yield prefix, [rows[place].after(group.length) for place in group.places]
        grouped = {place for group in groups for place in group.places}
        yield None, [row for place, row in enumerate(rows) if place not in grouped]

    def _figures(self, batch: Sequence[Row], prefix: SharedPrefix | None) -> list[list[float]]:
        """[log-probability, greedy] of every continuation of a batch."""
        with self._compute(), torch.inference_mode():
            return [line for part in batched(batch, self.micro_batch) for line in self._part(part, prefix)]

    def _part(self, rows: Sequence[Row], prefix: SharedPrefix | None) -> list[list[float]]:
        targets = _Targets(rows)
        ids = right_padded([row.tokens for row in rows])
        past = prefix.cache if prefix is not None else None
        logits = logits_at(self.model, ids, torch.from_numpy(targets.kept), past)
        return targets.sums(*targets.read(logits))


class _Targets:
    """The tokens to be predicted in a batch: row, column among the kept positions, id and continuation."""

    def __init__(self, batch: Sequence[Row]) -> None:
        spans = [
            (row, len(item.tokens), line) for row, item in enumerate(batch) for _, line in item.continuations
        ]
        lengths = [len(line) for _, _, line in spans]
        self.count = len(spans)
        self.row = np.repeat([row for row, _, _ in spans], lengths)
        self.owner = np.repeat(np.arange(self.count), lengths)
        positions = np.concatenate([np.arange(end - len(line), end) for _, end, line in spans])
        self.kept, self.column = np.unique(positions, return_inverse=True)
        self.token = np.concatenate([np.asarray(line) for _, _, line in spans])

    def read(self, logits: torch.Tensor) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Log-probability of each target and whether it is the arg-max, from logits (rows, kept, words)."""
        device = logits.device
        row, column, token = (
            torch.from_numpy(part).to(device) for part in (self.row, self.column, self.token)
        )
        step = max(1, CHUNK // logits.shape[-1])
        parts = []
        for start in range(0, len(token), step):
            part = slice(start, start + step)
            parts.append(_read(logits[row[part], column[part]].float(), token[part]))
        values, hits = (torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True))
        return values, hits

    def sums(self, log_probabilities: np.ndarray[Any, Any], hits: np.ndarray[Any, Any]) -> list[list[float]]:
        """Sums by continuation, in double precision, as plain numbers."""
        total = np.bincount(self.owner, weights=log_probabilities.astype(np.float64), minlength=self.count)
        misses = np.bincount(self.owner, weights=~hits, minlength=self.count)
        return [[float(value), float(missed == 0)] for value, missed in zip(total, misses, strict=True)]


def _read(logits: torch.Tensor, token: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-softmax at `token` and arg-max equality; logits (targets, words), computed in float32."""
    value = logits.gather(1, token[:, None])[:, 0] - logits.logsumexp(1)
    return value, logits.argmax(1) == token
