"""Runs `tokenize`: a corpus becomes shards of token ids."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

from workers.context import BadInput, StageContext, StageResult, metric
from workers.data.files import source_directory, split_files
from workers.data.journal import Journal
from workers.data.layouts import TEXT_LAYOUTS
from workers.data.rows import read_rows
from workers.data.shards import ShardWriter, token_type, write_header
from workers.models.loading import load_tokenizer
from workers.models.sources import planned_place
from workers.specs.tokenize import Corpus, TokenizeRecipe

TRAIN, VALIDATION = "train", "validation"
Batch = dict[str, list[str]]


def run(recipe: TokenizeRecipe, context: StageContext) -> StageResult:
    """Write `output/tokens/` and `output/tokenizer/`; a stopped stage goes on after its last whole batch.

    Raises:
        BadInput: corpus or tokenizer are missing or malformed, or the corpus is empty.
        StageStopped: a stop was asked for; what was done is in a checkpoint.
    """
    tokenizer = load_tokenizer(context, _tokenizer_directory(recipe, context))
    dtype = token_type(len(tokenizer))
    tokens = context.output / "tokens"
    writers = {name: ShardWriter(tokens / name, dtype, recipe.shard_tokens) for name in (TRAIN, VALIDATION)}
    journal = Journal(context, writers)
    with threads(recipe.threads):
        for batch in islice(batches(recipe, context), journal.batches, None):
            _write(recipe, tokenizer, batch, writers)
            journal.after_batch({name: len(texts) for name, texts in batch.items()})
    for writer in writers.values():
        writer.finish()
    if not writers[TRAIN].lengths:
        raise BadInput("the corpus holds no text")
    write_header(tokens, len(tokenizer), writers)
    tokenizer.save_pretrained(str(context.output / "tokenizer"))
    return StageResult(_metrics(journal, writers))


def _tokenizer_directory(recipe: TokenizeRecipe, context: StageContext) -> Path:
    model = recipe.tokenizer_model
    if model is not None and model.hub is not None:
        return planned_place(context, model)
    directory = source_directory(context, recipe.tokenizer)
    inner = directory / "tokenizer"
    return inner if inner.is_dir() else directory


def batches(recipe: TokenizeRecipe, context: StageContext) -> Iterator[Batch]:
    """Texts by split, so many documents of the corpus at a time, then those of a validation corpus."""
    numbered = enumerate(documents(context, recipe.corpus))
    while some := list(islice(numbered, recipe.batch_documents)):
        batch: Batch = {TRAIN: [], VALIDATION: []}
        for number, text in some:
            batch[VALIDATION if held_out(recipe, number) else TRAIN].append(text)
        yield batch
    if recipe.validation is not None:
        rest = documents(context, recipe.validation)
        while texts := list(islice(rest, recipe.batch_documents)):
            yield {VALIDATION: texts}


def documents(context: StageContext, corpus: Corpus) -> Iterator[str]:
    """The documents of a corpus that are not blank.

    Raises:
        BadInput: a file is missing or malformed, or a row has no text in the column.
    """
    return islice(_documents(context, corpus), corpus.limit)


def _documents(context: StageContext, corpus: Corpus) -> Iterator[str]:
    layouts = (f"{corpus.split}.jsonl", *TEXT_LAYOUTS)
    split: Any = corpus.split
    for path in split_files(context, corpus.source, layouts, split).paths:
        for number, row in enumerate(read_rows(path), start=1):
            text = row.get(corpus.column)
            if not isinstance(text, str):
                raise BadInput(f"{path}: row {number} has no text in column {corpus.column!r}")
            parts = re.split(r"\n\s*\n", text) if corpus.documents == "paragraph" else [text]
            yield from (part for part in parts if part.strip())


def held_out(recipe: TokenizeRecipe, number: int) -> bool:
    """Whether the document of a number is for validation."""
    if recipe.held_out == 0:
        return False
    digest = hashlib.sha256(f"{recipe.split_seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:8]) < recipe.held_out * 2**64


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let the tokenizer use so many threads; its result does not depend on them."""
    names = {"TOKENIZERS_PARALLELISM": "true" if count > 1 else "false", "RAYON_NUM_THREADS": str(count)}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _write(recipe: TokenizeRecipe, tokenizer: Any, batch: Batch, writers: dict[str, ShardWriter]) -> None:
    for name, texts in batch.items():
        if texts:
            ids = list(chain.from_iterable(encoded(recipe, tokenizer, texts)))
            keep = len(ids) if recipe.block is None else len(ids) // recipe.block * recipe.block
            writers[name].add(ids[:keep])


def encoded(recipe: TokenizeRecipe, tokenizer: Any, texts: list[str]) -> Iterator[list[int]]:
    """The ids of each text between its marks; a mark that the text brings along is not doubled."""
    if recipe.prefix_space:
        texts = [text if text.startswith(" ") else f" {text}" for text in texts]
    start = [tokenizer.bos_token_id] if "start" in recipe.marks else []
    end = [tokenizer.eos_token_id] if "end" in recipe.marks else []
    for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]:
        before = start if ids[:1] != start else []
        yield [*before, *ids, *(end if ids[-1:] != end else [])]


def _metrics(journal: Journal, writers: dict[str, ShardWriter]) -> list[Any]:
    rows = [
        metric("tokenize", writers[TRAIN].tokens, metric="train_tokens", unit="tokens", primary=True),
        metric("tokenize", writers[VALIDATION].tokens, metric="validation_tokens", unit="tokens"),
    ]
    return rows + [
        metric("tokenize", count, metric=f"{name}_documents", unit="documents")
        for name, count in sorted(journal.documents.items())
    ]
