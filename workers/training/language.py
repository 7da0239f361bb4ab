"""The loss of a language model on held-out sequences."""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch.nn.functional import cross_entropy

from workers.models.quantization import DTYPES
from workers.training.trainers import padded_rows
from workers.training.validation import BATCH_SIZE, Losses

IGNORED = -100


def sequence_losses(rows: Sequence[torch.Tensor], autocast: str, chunked: bool = False) -> Losses:
    """The mean over each sequence's predicted tokens of their negative log-probability, in nats.

    Sequences are taken `BATCH_SIZE` at a time in their order: a scale for a whole tensor depends on it. `chunked`: the
    model computes its loss in chunks (`workers.training.chunked`), and here too.
    """
    measure = _chunked_losses if chunked else _losses

    @torch.no_grad()
    def losses(model: torch.nn.Module) -> list[float]:
        found: list[float] = []
        device = next(model.parameters()).device
        mode = nullcontext() if autocast == "none" else torch.autocast(device.type, DTYPES[autocast])
        for start in range(0, len(rows), BATCH_SIZE):
            batch = padded_rows([{"input_ids": row} for row in rows[start : start + BATCH_SIZE]])
            inputs = {name: values.to(device) for name, values in batch.items()}
            with mode:
                each = measure(model, inputs)
            found.extend((each.sum(1) / (inputs["labels"][:, 1:] != IGNORED).sum(1)).tolist())
        return found

    return losses


def _losses(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Negative log-probabilities (batch, length - 1), 0 where nothing is predicted."""
    others = {name: values for name, values in inputs.items() if name != "labels"}
    logits = model(**others, use_cache=False).logits[:, :-1]
    labels = inputs["labels"][:, 1:]
    return cross_entropy(logits.float().transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")


def _chunked_losses(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """The same from a model that computes its loss in chunks."""
    scored: torch.Tensor = model(**inputs).log_probs
    return -scored
