"""From a recipe's data settings to tokenized rows, with an account of what was left out."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from results.records import MetricRow
from workers.context import BadInput, StageContext, metric
from workers.data.dialogues import Example
from workers.data.files import Split
from workers.data.instructions import load_instructions
from workers.data.selection import selected_pairs
from workers.data.templates import Renderer
from workers.data.tokenization import Tokenization, TokenizedExample, TokenizedPair
from workers.models.cache import rows_cache
from workers.specs.data import InstructionData, PreferenceData, Template

Row = TypeVar("Row", TokenizedPair, TokenizedExample)
TOKENS_KEPT = 500_000
"""Longer sets of rows are tokenized anew: held as Python numbers they would take gigabytes."""


@dataclass
class Account:
    """How many rows were read and used, and how many each rule removed."""

    read: int = 0
    used: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def metrics(self, task: str) -> list[MetricRow]:
        """One row each for what was read, used and dropped."""
        rows = [metric(task, self.read, metric="rows_read"), metric(task, self.used, metric="rows_used")]
        for reason, count in sorted(self.dropped.items()):
            if count:
                rows.append(metric(task, count, metric=f"dropped_{reason.replace(' ', '_')}"))
        return rows


Prepared = tuple[list[Row], Account]


def tokenized_pairs(
    context: StageContext,
    data: PreferenceData,
    template: Template,
    tokenizer: Any,
    *,
    seed: int,
    split: Split = "train",
) -> tuple[list[TokenizedPair], Account]:
    """The drawn pairs of `train`, or all of another split, tokenized.

    Raises:
        BadInput: data are missing or malformed, or nothing is left.
    """

    def make() -> Prepared[TokenizedPair]:
        drawn, found = selected_pairs(context, data, split, seed)
        limits = (data.max_prompt_length, data.max_length)
        tokenization = Tokenization(tokenizer, renderer(template, tokenizer), *limits)
        tokenized = tokenization.pairs(drawn)
        account = Account(found.read, len(tokenized), found.dropped + tokenization.dropped)
        return _some(tokenized), account

    return _kept(context, ("pairs", split, *_identity(data, template, tokenizer, seed)), make)


def tokenized_examples(
    context: StageContext,
    data: PreferenceData | InstructionData,
    template: Template,
    tokenizer: Any,
    *,
    max_length: int,
    seed: int,
    split: Split = "train",
) -> tuple[list[TokenizedExample], Account]:
    """Prompts with the answer to learn, tokenized: the chosen answers of pairs, or instruction rows.

    Raises:
        BadInput: data are missing or malformed, or nothing is left.
    """

    def make() -> Prepared[TokenizedExample]:
        examples, read, dropped, prompt_limit = _examples(context, data, max_length, seed, split)
        tokenization = Tokenization(tokenizer, renderer(template, tokenizer), prompt_limit, max_length)
        tokenized = tokenization.examples(examples)
        return _some(tokenized), Account(read, len(tokenized), dropped + tokenization.dropped)

    return _kept(context, ("examples", split, max_length, *_identity(data, template, tokenizer, seed)), make)


def renderer(template: Template, tokenizer: Any) -> Renderer:
    """The template with the tokenizer's own end mark."""
    return Renderer(template, tokenizer.eos_token)


def _identity(
    data: PreferenceData | InstructionData, template: Template, tokenizer: Any, seed: int
) -> tuple[object, ...]:
    """What the rows depend on besides the files themselves, whose digest is in the data's settings.

    The seed counts only where rows are drawn by it; a fixed subset is one for all seeds.
    """
    drawn = seed if getattr(data, "sampling", "fixed") == "per-seed" else None
    return (data, template, str(tokenizer.name_or_path), drawn)


def _kept(context: StageContext, key: tuple[object, ...], make: Callable[[], Prepared[Row]]) -> Prepared[Row]:
    """Rows that the worker keeps while they are few: the next seed of the same cell needs them again."""
    cache = rows_cache(context)
    place = (*key, tuple(sorted(context.hub_map.items())))
    rows, account = cache.get(place, make)
    if sum(row.length for row in rows) > TOKENS_KEPT:
        cache.forget(place)
    return list(rows), Account(account.read, account.used, account.dropped.copy())


def _examples(
    context: StageContext, data: PreferenceData | InstructionData, max_length: int, seed: int, split: Split
) -> tuple[list[Example], int, Counter[str], int]:
    if isinstance(data, InstructionData):
        if split != "train":
            raise BadInput(
                "instructions have no validation split: take preferences, or no `validation_steps`"
            )
        examples = load_instructions(context, data)
        return examples, len(examples), Counter(), max_length
    pairs, found = selected_pairs(context, data, split, seed)
    drawn = [pair.preferred for pair in pairs]
    return drawn, found.read, found.dropped, min(data.max_prompt_length, max_length)


def _some(rows: list[Any]) -> list[Any]:
    if not rows:
        raise BadInput("no row is left after tokenization: every answer is longer than `max_length` allows")
    return rows
