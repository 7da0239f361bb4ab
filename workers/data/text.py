"""Plain text as token sequences for next-token training."""

from itertools import chain
from typing import Any

import torch

from workers.context import BadInput, StageContext
from workers.data.files import split_files
from workers.data.layouts import TEXT_LAYOUTS
from workers.data.rows import read_rows
from workers.specs.data import TextData


def token_rows(context: StageContext, data: TextData, tokenizer: Any) -> list[torch.Tensor]:
    """The sequences to train on, int64: blocks of `data.block` tokens, or documents cut to that length.

    Documents carry their start mark, and an end mark where their text lacks one. In blocks they follow one
    another, and the rest that fills no block is left out.

    Raises:
        BadInput: files are missing or malformed, or hold fewer tokens than one block.
    """
    files = split_files(context, data.source, (data.split + ".jsonl", *TEXT_LAYOUTS), _split(data))
    texts = [str(row["text"]) for path in files.paths for row in read_rows(path) if row.get("text")]
    encoded = tokenizer(texts, add_special_tokens=True)["input_ids"] if texts else []
    end = tokenizer.eos_token_id
    documents = [ids if ids[-1] == end else [*ids, end] for ids in encoded if ids]
    if not data.packed and documents:
        return [torch.tensor(ids[: data.block]) for ids in documents]
    stream = list(chain.from_iterable(documents))
    count = len(stream) // data.block
    if count == 0:
        names = ", ".join(map(str, files.paths))
        raise BadInput(f"{names}: {len(stream)} tokens do not fill one block of {data.block}")
    return list(torch.tensor(stream[: count * data.block]).view(count, data.block))


def _split(data: TextData) -> Any:
    return data.split
