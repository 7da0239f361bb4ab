"""Plain text packed into blocks of equal length for next-token training."""

from itertools import chain
from typing import Any

import torch

from workers.context import BadInput, StageContext
from workers.data.files import split_files
from workers.data.rows import read_rows
from workers.specs.data import TextData

LAYOUTS = ("pretrain/{split}.jsonl", "{split}.jsonl", "{split}.txt", "data/{split}*.parquet")


def token_blocks(context: StageContext, data: TextData, tokenizer: Any) -> torch.Tensor:
    """Documents one after another, each with its start mark (and end mark, where its text lacks one), cut
    into blocks: int64, shape (blocks, `data.block`). The rest that fills no block is left out.

    Raises:
        BadInput: files are missing or malformed, or hold fewer tokens than one block.
    """
    files = split_files(context, data.source, (data.split + ".jsonl", *LAYOUTS), _split(data))
    documents = [str(row["text"]) for path in files.paths for row in read_rows(path) if row.get("text")]
    encoded = tokenizer(documents, add_special_tokens=True)["input_ids"] if documents else []
    end = tokenizer.eos_token_id
    stream = list(chain.from_iterable(ids if ids[-1] == end else [*ids, end] for ids in encoded if ids))
    count = len(stream) // data.block
    if count == 0:
        raise BadInput(
            f"{', '.join(map(str, files.paths))}: {len(stream)} tokens do not fill one block of {data.block}"
        )
    return torch.tensor(stream[: count * data.block]).view(count, data.block)


def _split(data: TextData) -> Any:
    return data.split
