"""Generation with a key-value cache, batched: greedy, or by a rule that chooses each token."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from workers.evaluation.answers import Answers
from workers.evaluation.batches import Tokens, batched, left_padded, longest_first
from workers.evaluation.forward import base_model, last_logits

CHECK_EVERY = 8
"""Steps between two looks for stop texts. It changes only how early a batch ends, never a completion."""


Choose = Callable[[torch.Tensor, int, Sequence[int]], torch.Tensor]
"""The next token of each row from (logits (rows, vocabulary), number of the new token, places of the prompts)."""


def greedy(logits: torch.Tensor, number: int, places: Sequence[int]) -> torch.Tensor:
    """The most probable token of each row."""
    return logits.argmax(-1)


@dataclass(frozen=True)
class Completion:
    """What the model said: its text up to an end mark or stop text, and the tokens before the end mark.

    `ended` tells whether an end mark or stop text came within the allowed tokens.
    """

    text: str
    tokens: tuple[int, ...]
    ended: bool


class Generator:
    """Continues prompts with `model`, `batch_size` at a time; the model's own sampling settings are not read.

    `micro_batch` computes a batch in parts where memory is short. `compute` surrounds the computing.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        batch_size: int,
        micro_batch: int | None = None,
        compute: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.micro_batch = min(micro_batch or batch_size, batch_size)
        self._compute = compute
        self._ends = end_tokens(model, tokenizer)

    def complete(
        self,
        prompts: Sequence[Tokens],
        new_tokens: int,
        answers: Answers,
        until: Sequence[str] = (),
        choose: Choose = greedy,
    ) -> list[Completion]:
        """A completion of at most `new_tokens` tokens for each prompt, in their order.

        `choose` must depend on its arguments alone, so that batches change no completion.
        ValueError for an empty prompt.
        """
        if not all(prompts):
            raise ValueError("generation needs prompts of one token or more")
        completions: dict[int, Completion] = {}
        for places in batched(longest_first(prompts), self.batch_size):
            batch = [prompts[place] for place in places]
            said = answers.ask(len(batch), partial(self._tokens, batch, places, new_tokens, until, choose))
            for place, tokens in zip(places, said, strict=True):
                completions[place] = self._completion(tokens, until)
        return [completions[place] for place in range(len(prompts))]

    def _completion(self, tokens: list[int], until: Sequence[str]) -> Completion:
        """Cut what was generated at its end."""
        end = next((place for place, token in enumerate(tokens) if token in self._ends), None)
        before = tokens if end is None else tokens[:end]
        whole = self.tokenizer.decode(before, skip_special_tokens=True)
        text = cut(whole, until)
        return Completion(text, tuple(before), end is not None or text != whole)

    def _tokens(
        self,
        batch: Sequence[Tokens],
        places: Sequence[int],
        new_tokens: int,
        until: Sequence[str],
        choose: Choose,
    ) -> list[list[int]]:
        """Generated ids of each row up to its end mark, which is kept."""
        rows: list[list[int]] = []
        with self._compute(), torch.inference_mode():
            for part in batched(list(zip(batch, places, strict=True)), self.micro_batch):
                prompts, own = [prompt for prompt, _ in part], [place for _, place in part]
                columns = self._columns(prompts, new_tokens, until, partial(_chosen, choose, own))
                rows += torch.stack(columns, dim=1).tolist()
        return [self._to_end(row) for row in rows]

    def _to_end(self, row: list[int]) -> list[int]:
        end = next((place + 1 for place, token in enumerate(row) if token in self._ends), len(row))
        return row[:end]

    def _columns(
        self,
        batch: Sequence[Tokens],
        new_tokens: int,
        until: Sequence[str],
        choose: Callable[[torch.Tensor, int], torch.Tensor],
    ) -> list[torch.Tensor]:
        """One column of ids (rows,) for each step, until every row has ended."""
        device = self.model.device
        ids, mask = (part.to(device) for part in left_padded(batch))
        padded = bool((mask == 0).any())
        ends = torch.tensor(sorted(self._ends), device=device)
        ended = torch.zeros(len(batch), dtype=torch.bool, device=device)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        columns: list[torch.Tensor] = []
        cache = None
        while True:
            seen = mask if padded else None
            logits, cache = last_logits(
                self.model, input_ids=ids, attention_mask=seen, position_ids=positions, past_key_values=cache
            )
            token = choose(logits, len(columns))
            columns.append(token)
            ended |= torch.isin(token, ends)
            if len(columns) == new_tokens or self._all_ended(ended, columns, until):
                return columns
            ids, positions = token[:, None], positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(batch), 1)], dim=1)

    def _all_ended(self, ended: torch.Tensor, columns: list[torch.Tensor], until: Sequence[str]) -> bool:
        if bool(ended.all()):
            return True
        if not until or len(columns) % CHECK_EVERY:
            return False
        rows = [self._to_end(row) for row in torch.stack(columns, dim=1).tolist()]
        texts = self.tokenizer.batch_decode(rows, skip_special_tokens=True)
        stopped = zip(ended.tolist(), texts, strict=True)
        return all(done or cut(text, until) != text for done, text in stopped)


def _chosen(choose: Choose, places: Sequence[int], logits: torch.Tensor, number: int) -> torch.Tensor:
    return choose(logits, number, places)


def cut(text: str, until: Sequence[str]) -> str:
    """The text before the first of the stop texts."""
    places = [text.find(stop) for stop in until if stop]
    return text[: min((place for place in places if place >= 0), default=len(text))]


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The ids that end an answer: the tokenizer's end mark and those of the model's generation settings."""
    settings = getattr(base_model(model), "generation_config", None)
    listed = getattr(settings, "eos_token_id", None)
    ids = listed if isinstance(listed, list | tuple) else [listed]
    return frozenset(token for token in (tokenizer.eos_token_id, *ids) if token is not None)
