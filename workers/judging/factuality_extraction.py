"""Breaking answers into atomic facts: by rule, by a local language model, by a service."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from workers.context import StageContext
from workers.evaluation.answers import Answers
from workers.evaluation.batches import Tokens, batched
from workers.evaluation.generation import Generator
from workers.judging.endpoint import Endpoint
from workers.judging.instruction import Instruction
from workers.judging.items import Item
from workers.judging.judge import Question
from workers.models.loading import borrowed_model
from workers.models.sources import hub_source
from workers.specs.data import DataSource
from workers.specs.factuality import FactualityRecipe
from workers.specs.judge import JudgeRecipe, JudgeSettings
from workers.world.claims import claims

NONE = "none"
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+(.+?)\s*$", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!\b[A-Z]\.)(?<!\b[A-Z][a-z]\.)(?<!\bMrs\.)\s+(?=[\"'(]?[A-Z0-9])")
Facts = list[str] | None
"""The facts of a text; None where their list could not be read."""
Extract = Callable[[Sequence[Item], Answers], list[Facts]]


class FactList(Instruction):
    """How a model is asked for the facts of a sentence, and how its list is read."""

    def read(self, text: str | None) -> str | None:
        """The listed facts, one a line; empty where the answer says that there is none, None where it is no list."""
        found = _BULLET.findall(text or "")
        said_none = (text or "").strip().strip(".").lower() == NONE
        return "\n".join(found) if found else "" if said_none else None


def sentences(text: str) -> list[str]:
    """A text's sentences: cut at line ends, and after a full stop that a capital follows and no initial precedes."""
    parts = (part.strip() for line in text.splitlines() for part in _SENTENCE_END.split(line))
    return [part for part in parts if part]


@contextmanager
def open_extractor(recipe: FactualityRecipe, context: StageContext) -> Iterator[Extract]:
    """What breaks answers into facts, as the recipe says.

    Raises:
        BadInput: a model, a key or an instruction is missing or malformed.
    """
    match recipe.extractor.kind:
        case "rule":
            yield partial(_by_rule, claims if recipe.extractor.rule == "claims" else sentences)
        case "causal":
            with _open_causal(recipe, context) as extract:
                yield extract
        case "endpoint":
            listing = _ListingEndpoint(recipe, context)
            try:
                yield listing.facts
            finally:
                listing.close()
        case other:
            raise ValueError(f"no extractor of kind {other!r}")


def _by_rule(split: Callable[[str], list[str]], items: Sequence[Item], answers: Answers) -> list[Facts]:
    return [split(item.answer) for item in items]


class _ListingEndpoint(Endpoint):
    """A service that is asked for facts, sentence by sentence; what it said is kept like any judgement."""

    def __init__(self, recipe: FactualityRecipe, context: StageContext) -> None:
        asking = _asking(recipe, JudgeSettings(endpoint=recipe.extractor.endpoint))
        super().__init__(asking, context)
        self.instruction = self.listing = FactList(asking, context)

    def facts(self, items: Sequence[Item], answers: Answers) -> list[Facts]:
        """The facts of each answer."""
        return _by_sentence(items, self.listing, lambda messages: self._texts(messages, answers))

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def _texts(self, messages: Sequence[str], answers: Answers) -> list[str | None]:
        said: list[str | None] = []
        for batch in batched(messages, self.batch_size):
            said += answers.ask(len(batch), partial(self._batch, batch))
        return said


@contextmanager
def _open_causal(recipe: FactualityRecipe, context: StageContext) -> Iterator[Extract]:
    settings = recipe.extractor.causal
    assert settings is not None
    torch.set_num_threads(recipe.threads)
    instruction = FactList(_asking(recipe, JudgeSettings()), context)
    source = hub_source(context, settings.model)
    with borrowed_model(context, source, settings.model) as (model, tokenizer):
        generator = Generator(
            model.eval(),
            tokenizer,
            recipe.batch_size,
            context.execution.micro_batch,
            lambda: context.phase("compute"),
        )

        def texts(messages: Sequence[str], answers: Answers) -> list[str | None]:
            rows = [_encode(tokenizer, message, settings.chat) for message in messages]
            fits = [len(ids) + settings.new_tokens <= recipe.max_length for ids in rows]
            asked = [ids for ids, fit in zip(rows, fits, strict=True) if fit]
            said = iter(generator.complete(asked, settings.new_tokens, answers) if asked else ())
            return [next(said).text if fit else None for fit in fits]

        yield lambda items, answers: _by_sentence(
            items, instruction, lambda messages: texts(messages, answers)
        )


def _by_sentence(
    items: Sequence[Item], instruction: FactList, ask: Callable[[Sequence[str]], list[str | None]]
) -> list[Facts]:
    """The facts of each answer from those of its sentences; unreadable where any sentence's are."""
    parts = [sentences(item.answer) for item in items]
    messages = [
        instruction.render(Question(item.prompt, (sentence,)))
        for item, own in zip(items, parts, strict=True)
        for sentence in own
    ]
    lists = iter([instruction.read(said) for said in ask(messages)])
    return [_joined([next(lists) for _ in own]) for own in parts]


def _joined(lists: Sequence[str | None]) -> Facts:
    known = [one for one in lists if one is not None]
    return [fact for one in known for fact in one.splitlines()] if len(known) == len(lists) else None


def _asking(recipe: FactualityRecipe, judge: JudgeSettings) -> JudgeRecipe:
    """The settings of one who is asked for facts, in the terms of judges."""
    packaged = DataSource(hub=str(Path(__file__).parent / "instructions" / "facts.txt"))
    return JudgeRecipe(
        shape="verdict",
        judge=judge,
        instruction=recipe.extraction or packaged,
        batch_size=recipe.batch_size,
        max_length=recipe.max_length,
    )


def _encode(tokenizer: Any, text: str, chat: bool) -> Tokens:
    if not (chat and getattr(tokenizer, "chat_template", None)):
        return list(tokenizer(text)["input_ids"])
    messages = [{"role": "user", "content": text}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(rendered, add_special_tokens=False)["input_ids"])
