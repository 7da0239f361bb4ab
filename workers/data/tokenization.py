"""Token ids as a model sees them, made before TRL so that nothing is cut or marked in an unstated way.

Rules: the prompt is cut from the left (its start mark stays) to `max_prompt_length`, then further until the
longest answer fits into `max_length`; an answer is never cut, so a row whose answer alone does not fit is
dropped and counted. The last id of every response is the one end mark of that response.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from workers.context import BadInput
from workers.data.dialogues import Example, Pair
from workers.data.templates import Renderer

IGNORED = -100
"""The label of a position without loss, in torch's terms."""


@dataclass(frozen=True)
class TokenizedPair:
    """Ids of a prompt and of two responses, each ending in the end mark. `key` is that of `row_key`."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]
    key: str = field(default="", compare=False)

    @property
    def length(self) -> int:
        """Tokens of the prompt with the longer response."""
        return len(self.prompt_ids) + max(len(self.chosen_ids), len(self.rejected_ids))


@dataclass(frozen=True)
class TokenizedExample:
    """Ids of a prompt and its response, which ends in the end mark. `key` is that of `row_key`."""

    prompt_ids: list[int]
    response_ids: list[int]
    key: str = field(default="", compare=False)

    @property
    def length(self) -> int:
        """Tokens of both."""
        return len(self.prompt_ids) + len(self.response_ids)

    def row(self, mask_prompt: bool) -> dict[str, list[int]]:
        """`input_ids` and `labels` of equal length; `mask_prompt` leaves the loss to the response alone."""
        ids = self.prompt_ids + self.response_ids
        masked = [IGNORED] * len(self.prompt_ids) + self.response_ids
        return {"input_ids": ids, "labels": masked if mask_prompt else ids}


def row_key(each: Example | Pair, preferred: str) -> str:
    """Equal for a pair and for the example of its chosen answer, before anything is cut."""
    return hashlib.sha256(repr((each.history, each.prompt, preferred)).encode()).hexdigest()


class Tokenization:
    """Turns dialogues into ids with one tokenizer and one renderer.

    `dropped` counts rows by reason, `cut` the rows whose prompt lost its beginning.
    """

    def __init__(self, tokenizer: Any, renderer: Renderer, max_prompt_length: int, max_length: int) -> None:
        self.tokenizer = tokenizer
        self.renderer = renderer
        self.max_prompt_length = max_prompt_length
        self.max_length = max_length
        self.dropped: Counter[str] = Counter()
        self.cut = 0
        self._marks = tuple(mark for mark in (tokenizer.eos_token, tokenizer.bos_token) if mark)

    def examples(self, examples: Iterable[Example]) -> list[TokenizedExample]:
        """Tokenize prompts with one response each."""
        usable = [each for each in examples if self._is_plain(each, each.response)]
        encoded = self._encode([(each, each.response) for each in usable])
        found = [self._fit(ids[:start], [ids[start:]]) for ids, start in encoded]
        return [
            TokenizedExample(fitted[0], fitted[1][0], row_key(each, each.response))
            for each, fitted in zip(usable, found, strict=True)
            if fitted
        ]

    def pairs(self, pairs: Iterable[Pair]) -> list[TokenizedPair]:
        """Tokenize prompts with two responses each; both share the ids of the prompt."""
        usable = [pair for pair in pairs if self._is_plain(pair, pair.chosen, pair.rejected)]
        chosen = self._encode([(pair, pair.chosen) for pair in usable])
        rejected = self._encode([(pair, pair.rejected) for pair in usable])
        found = [self._pair(*both) for both in zip(chosen, rejected, strict=True)]
        return [
            TokenizedPair(fitted[0], fitted[1][0], fitted[1][1], row_key(pair, pair.chosen))
            for pair, fitted in zip(usable, found, strict=True)
            if fitted
        ]

    def _pair(
        self, chosen: tuple[list[int], int], rejected: tuple[list[int], int]
    ) -> tuple[list[int], list[list[int]]] | None:
        """Both responses after the part of the prompt that tokenizes alike before each of them."""
        start = min(chosen[1], rejected[1])
        while chosen[0][:start] != rejected[0][:start]:
            start -= 1
        return self._fit(chosen[0][:start], [chosen[0][start:], rejected[0][start:]])

    def _is_plain(self, each: Example | Pair, *responses: str) -> bool:
        """Whether no text holds the tokenizer's marks, which would end or begin a sequence inside it."""
        earlier = [text for turn in each.history for text in (turn.prompt, turn.response)]
        texts = [each.prompt, *responses, *earlier]
        plain = not any(mark in text for mark in self._marks for text in texts)
        self.dropped["holds a mark"] += not plain
        return plain

    def _encode(self, dialogues: Sequence[tuple[Example | Pair, str]]) -> list[tuple[list[int], int]]:
        """Ids of each whole text, and the place of the first token of its response."""
        if not dialogues:
            return []
        rendered = [self.renderer.render(each.history, each.prompt, response) for each, response in dialogues]
        encoded = self.tokenizer([text.text for text in rendered], return_offsets_mapping=True)
        return [
            (self._checked(ids), _first_token(offsets, text.response_start))
            for ids, offsets, text in zip(
                encoded["input_ids"], encoded["offset_mapping"], rendered, strict=True
            )
        ]

    def _checked(self, ids: list[int]) -> list[int]:
        end = self.tokenizer.eos_token_id
        if ids[-1] != end or ids[-2:] == [end, end]:
            raise BadInput(
                f"with template {self.renderer.template.turn!r} this tokenizer does not end a response in "
                f"exactly one end mark {self.tokenizer.eos_token!r}; its last ids are {ids[-2:]}"
            )
        return ids

    def _fit(self, prompt: list[int], answers: list[list[int]]) -> tuple[list[int], list[list[int]]] | None:
        room = min(self.max_prompt_length, self.max_length - max(map(len, answers)))
        if room < 1:
            self.dropped["too long"] += 1
            return None
        self.cut += len(prompt) > room
        return self._cut_left(prompt, room), answers

    def _cut_left(self, prompt: list[int], room: int) -> list[int]:
        if len(prompt) <= room:
            return prompt
        start = prompt[:1] if prompt[0] == self.tokenizer.bos_token_id and room > 1 else []
        return start + prompt[len(prompt) - room + len(start) :]


def _first_token(offsets: Sequence[tuple[int, int]], character: int) -> int:
    """The first token that reaches beyond `character`; marks that stand for no text have empty offsets."""
    return next(place for place, (_, end) in enumerate(offsets) if end > character)
