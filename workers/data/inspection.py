"""What a model will really see of a data set: the rendered text, its tokens, and which of them are learnt."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from workers.context import BadInput, StageContext
from workers.data.dialogues import Example, Pair
from workers.data.instructions import load_instructions
from workers.data.prepared import renderer
from workers.data.sampling import training_positions
from workers.data.selection import selected_pairs
from workers.data.templates import Segment
from workers.data.tokenization import Tokenization, TokenizedExample, TokenizedPair, row_key
from workers.recipe import Recipe
from workers.specs.dpo import DpoRecipe
from workers.specs.reference import ReferenceRecipe
from workers.specs.sft import SftRecipe


@dataclass(frozen=True)
class Piece:
    """One token: its id and text, whether the loss counts it, and whether its text comes from the data."""

    id: int
    text: str
    learnt: bool
    given: bool


@dataclass(frozen=True)
class Dialogue:
    """A prompt with one answer as the model reads it; `name` is `response`, `chosen` or `rejected`.

    `segments` are the whole text, `pieces` the tokens that are left of it: `cut` were taken from the prompt's
    left, the answer begins at piece `start` and ends in the end mark, the last piece.
    """

    name: str
    segments: list[Segment]
    pieces: list[Piece]
    cut: int
    start: int


@dataclass(frozen=True)
class Inspection:
    """The first rows that a stage takes, in its order, and the account of all.

    `positions` counts what it takes in all, `used` the distinct rows among them, `cut` those of them whose
    prompt lost its beginning.
    """

    rows: list[list[Dialogue]]
    read: int
    used: int
    cut: int
    dropped: Counter[str]
    positions: int


def inspect(recipe: Recipe, context: StageContext, tokenizer: Any, count: int) -> Inspection:
    """The first `count` rows that a stage with this recipe trains on (or scores, for `reference`).

    Raises:
        BadInput: its kind sees no dialogues, or its data is missing or malformed.
    """
    if isinstance(recipe, SftRecipe):
        return _examples(recipe, context, tokenizer, count)
    if isinstance(recipe, DpoRecipe | ReferenceRecipe):
        return _pairs(recipe, context, tokenizer, count)
    raise BadInput("only stages of the kinds sft, dpo and reference see dialogues")


def _examples(recipe: SftRecipe, context: StageContext, tokenizer: Any, count: int) -> Inspection:
    data = recipe.preferences
    limit = recipe.max_length if data is None else min(data.max_prompt_length, recipe.max_length)
    tokenization = Tokenization(tokenizer, renderer(recipe.template, tokenizer), limit, recipe.max_length)
    examples, read, dropped = _sources(recipe, context)
    rows = tokenization.examples(examples)
    order = training_positions(recipe.training, data, rows, recipe.seed) if rows else []
    texts = {row_key(each, each.response): each for each in examples}
    shown = [
        [_dialogue("response", tokenization, texts[row.key], row, whole=not recipe.mask_prompt)]
        for row in (rows[place] for place in order[:count])
    ]
    account = dropped + tokenization.dropped
    return Inspection(shown, read, len(rows), tokenization.cut, account, len(order))


def _sources(recipe: SftRecipe, context: StageContext) -> tuple[list[Example], int, Counter[str]]:
    if recipe.preferences is not None:
        pairs, found = selected_pairs(context, recipe.preferences, "train", recipe.seed)
        return [pair.preferred for pair in pairs], found.read, found.dropped
    if recipe.instructions is None:
        raise BadInput("`sft` needs exactly one of `preferences` and `instructions` in its recipe")
    examples = load_instructions(context, recipe.instructions)
    return examples, len(examples), Counter()


def _pairs(
    recipe: DpoRecipe | ReferenceRecipe, context: StageContext, tokenizer: Any, count: int
) -> Inspection:
    data = recipe.preferences
    pairs, found = selected_pairs(context, data, "train", recipe.seed)
    rendering = renderer(recipe.template, tokenizer)
    tokenization = Tokenization(tokenizer, rendering, data.max_prompt_length, data.max_length)
    rows = tokenization.pairs(pairs)
    order = list(range(len(rows)))
    if isinstance(recipe, DpoRecipe) and rows:
        order = training_positions(recipe.training, data, rows, recipe.seed)
    account = found.dropped + tokenization.dropped
    shown = [_both(rows[place], pairs, tokenization) for place in order[:count]]
    return Inspection(shown, found.read, len(rows), tokenization.cut, account, len(order))


def _both(row: TokenizedPair, pairs: Sequence[Pair], tokenization: Tokenization) -> list[Dialogue]:
    like = [pair for pair in pairs if row_key(pair, pair.chosen) == row.key]
    limits = (tokenization.max_prompt_length, tokenization.max_length)
    fresh = Tokenization(tokenization.tokenizer, tokenization.renderer, *limits)
    pair = next(each for each in like if fresh.pairs([each]) == [row])
    answers = (("chosen", pair.chosen, row.chosen_ids), ("rejected", pair.rejected, row.rejected_ids))
    return [
        _dialogue(
            name,
            tokenization,
            Example(pair.prompt, answer, pair.history),
            TokenizedExample(row.prompt_ids, ids),
        )
        for name, answer, ids in answers
    ]


def _dialogue(
    name: str, tokenization: Tokenization, example: Example, row: TokenizedExample, whole: bool = False
) -> Dialogue:
    """`whole` says that the loss counts the prompt too."""
    segments = tokenization.renderer.segments(example.history, example.prompt, example.response)
    tokenizer = tokenization.tokenizer
    encoded = tokenizer("".join(part.text for part in segments), return_offsets_mapping=True)
    ids, start = row.prompt_ids + row.response_ids, len(row.prompt_ids)
    cut = len(encoded["input_ids"]) - len(ids)
    kept_start = ids[0] != encoded["input_ids"][cut]
    offsets = encoded["offset_mapping"][cut:]
    given = [_is_given(segments, offset) for offset in offsets]
    if kept_start:  # the start mark stays before a prompt that was cut
        given[0] = False
    texts = tokenizer.convert_ids_to_tokens(ids)
    pieces = [
        Piece(token, text, whole or place >= start, data)
        for place, (token, text, data) in enumerate(zip(ids, texts, given, strict=True))
    ]
    return Dialogue(name, segments, pieces, cut, start)


def _is_given(segments: Sequence[Segment], offset: tuple[int, int]) -> bool:
    """Whether a token reaches into text of the data; marks that stand for no text do not."""
    first, last = offset
    if first == last:
        return False
    ends = list(accumulate(len(part.text) for part in segments))
    touched = range(bisect_right(ends, first), bisect_right(ends, last - 1) + 1)
    return any(segments[place].given for place in touched)
