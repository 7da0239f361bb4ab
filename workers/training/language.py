"""The loss of a language model on held-out sequences."""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch.nn.functional import cross_entropy

from workers.models.quantization import DTYPES
from workers.training.trainers import padded_rows
from workers.training.validation import BATCH_SIZE, Losses

IGNORED = -100


def sequence_losses(rows: Sequence[torch.Tensor], autocast: str) -> Losses:
    """The mean over each sequence's predicted tokens of their negative log-probability, in nats.

    Sequences are taken `BATCH_SIZE` at a time in their order: a scale for a whole tensor depends on it.
    """

    @torch.no_grad()
    def losses(model: torch.nn.Module) -> list[float]:
        found: list[float] = []
        device = next(model.parameters()).device
        mode = nullcontext() if autocast == "none" else torch.autocast(device.type, DTYPES[autocast])
        for start in range(0, len(rows), BATCH_SIZE):
            batch = padded_rows([{"input_ids": row} for row in rows[start : start + BATCH_SIZE]])
            labels = batch.pop("labels").to(device)[:, 1:]
            inputs = {name: values.to(device) for name, values in batch.items()}
            with mode:
                logits = model(**inputs, use_cache=False).logits[:, :-1]
            each = cross_entropy(
                logits.float().transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
            )
            found.extend((each.sum(1) / (labels != IGNORED).sum(1)).tolist())
        return found

    return losses
