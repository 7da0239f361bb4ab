"""Reference log-probabilities: computed once by a `reference` stage, read by every DPO run that shares them.

A row's key is the content of the tokenized pair; the file says for which base and precision it holds.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from workers.context import BadInput, Parent
from workers.data.tokenization import TokenizedPair

FILE = "logprobs.parquet"
SCHEMA = pa.schema([("key", pa.string()), ("chosen", pa.float32()), ("rejected", pa.float32())])


@dataclass(frozen=True)
class ReferenceRows:
    """Summed response log-probabilities `l_ref(y_w)`, `l_ref(y_l)` in nats, by key."""

    values: dict[str, tuple[float, float]]

    def columns(self, pair: TokenizedPair) -> dict[str, float]:
        """The columns that TRL's DPO loss reads.

        Raises:
            BadInput: the pair is not among the rows.
        """
        try:
            chosen, rejected = self.values[pair_key(pair)]
        except KeyError:
            raise BadInput(
                "a training pair has no reference log-probability: the parent in role `reference` was made "
                "with other data, template, sampling, lengths or tokenizer"
            ) from None
        return {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}


def pair_key(pair: TokenizedPair) -> str:
    """The sha256 of a tokenized pair's content (hexadecimal)."""
    content = json.dumps([pair.prompt_ids, pair.chosen_ids, pair.rejected_ids], separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def write_reference(path: Path, values: dict[str, tuple[float, float]], base: str, precision: str) -> None:
    """Write rows in the order of their keys."""
    keys = sorted(values)
    columns = [keys, [values[key][0] for key in keys], [values[key][1] for key in keys]]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    schema = SCHEMA.with_metadata({"base": base, "precision": precision})
    pq.write_table(pa.table(arrays, schema=schema), path)


def read_reference(parent: Parent | None, base: str, precision: str) -> ReferenceRows | None:
    """The rows of a parent in role `reference`; None without one.

    Raises:
        BadInput: they are missing, or hold for another base or precision.
    """
    if parent is None:
        return None
    path = parent.output / FILE
    if not path.is_file():
        raise BadInput(f"stage {parent.stage.id} left no {FILE}")
    table = pq.read_table(path)
    found = {name.decode(): value.decode() for name, value in (table.schema.metadata or {}).items()}
    for name, wanted in (("base", base), ("precision", precision)):
        if found.get(name) != wanted:
            raise BadInput(f"{path}: reference of {name} {found.get(name)!r}, but {wanted!r} is trained")
    columns = (table[name].to_pylist() for name in SCHEMA.names)
    return ReferenceRows({key: (chosen, rejected) for key, chosen, rejected in zip(*columns, strict=True)})


def reference_logps(
    model: Any, pairs: Sequence[TokenizedPair], batch_size: int, pad: int
) -> Iterator[dict[str, tuple[float, float]]]:
    """Rows of one batch after another, longest pairs first, along the path that TRL's training loss takes.

    `model` has TRL's fused head and is in evaluation mode, so that dropout is off.
    """
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    collate = DataCollatorForPreference(pad_token_id=pad)
    for start in range(0, len(pairs), batch_size):
        batch = pairs[start : start + batch_size]
        inputs = collate([vars(pair) for pair in batch])
        chosen, rejected = _batch_logps(model, {name: each.to(model.device) for name, each in inputs.items()})
        keys = [pair_key(pair) for pair in batch]
        yield dict(zip(keys, zip(chosen.tolist(), rejected.tolist(), strict=True), strict=True))


def _batch_logps(model: Any, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    mask = inputs.pop("completion_mask")
    labels = inputs["input_ids"].masked_fill(mask == 0, -100)
    with torch.no_grad():
        logps = model(**inputs, labels=labels, use_cache=False, fused_lm_head=True).log_probs
    chosen, rejected = logps.sum(dim=1).float().chunk(2, dim=0)
    return chosen, rejected
