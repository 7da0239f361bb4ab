"""The sequences that a pre-training learns from: blocks of a parent's shards, or of the recipe's own text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from workers.context import BadInput, Parent, StageContext
from workers.data.files import source_directory
from workers.data.ordered import OrderedRows
from workers.data.sampling import training_order
from workers.data.shards import TokenBlocks
from workers.data.text import token_rows
from workers.models.loading import load_tokenizer
from workers.specs.pretrain import PretrainRecipe

Rows = Sequence[dict[str, torch.Tensor]]
VALIDATION = "validation"


def corpus_tokenizer(recipe: PretrainRecipe, context: StageContext) -> Any:
    """The tokenizer of the parent in role `tokens`, else the recipe's."""
    tokens = context.parent("tokens")
    if tokens is not None:
        return load_tokenizer(context, _directory(tokens) / "tokenizer")
    directory = source_directory(context, recipe.tokenizer)
    inner = directory / "tokenizer"
    return load_tokenizer(context, inner if inner.is_dir() else directory)


def training_rows(recipe: PretrainRecipe, context: StageContext, tokenizer: Any) -> Rows:
    """Rows `input_ids` for every training position, in order.

    Raises:
        BadInput: data are missing, malformed, or too short for one block.
    """
    needed = recipe.training.steps * recipe.training.batch_size
    tokens = context.parent("tokens")
    if tokens is not None:
        return OrderedRows(_blocks(recipe, tokens, "train", tokenizer), needed, recipe.seed)
    sequences = token_rows(context, recipe.data, tokenizer)
    lengths = [len(sequence) for sequence in sequences]
    order = training_order(lengths, needed, recipe.training.batch_size, recipe.seed, by_length=False)
    return [{"input_ids": sequences[place]} for place in order]


def validation_rows(recipe: PretrainRecipe, context: StageContext, tokenizer: Any) -> list[torch.Tensor]:
    """The first `training.validation_rows` sequences that training leaves out.

    Raises:
        BadInput: there are none.
    """
    tokens = context.parent("tokens")
    held_out: Sequence[torch.Tensor]
    if tokens is not None:
        held_out = _blocks(recipe, tokens, VALIDATION, tokenizer)
    else:
        held_out = token_rows(context, recipe.data.model_copy(update={"split": VALIDATION}), tokenizer)
    return list(held_out[: recipe.training.validation_rows])


def _blocks(recipe: PretrainRecipe, tokens: Parent, split: str, tokenizer: Any) -> TokenBlocks:
    return TokenBlocks(_directory(tokens) / "tokens", split, recipe.data.block, len(tokenizer))


def _directory(tokens: Parent) -> Path:
    if not (tokens.output / "tokens").is_dir():
        raise BadInput(
            f"stage {tokens.stage.id} ({tokens.stage.kind.name}) left no tokens; use a `tokenize` stage"
        )
    return tokens.output
