"""Sequences of a batch one after another in a single row, so that no padding is computed.

TRL's trainer for SFT makes such rows itself; its trainer for DPO does not. Here a model gets padded batches, computes
without padding and answers as if it had computed with it, so the trainer need not know.
"""

import functools
from typing import Any

import torch

IGNORED = -100
PER_TOKEN = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1", "label_mask")
"""The fields of TRL's fused head that hold a value for each predicted token."""


def compute_without_padding(model: Any) -> None:
    """Let a model with TRL's fused head leave out the padding of its batches.

    Padding must stand on the right, or anywhere outside the attention mask. Sequences do not see each other: flash
    attention is given their bounds, `sdpa` and `eager` make a mask from the positions (a square of all tokens, so they
    save no time there). Values at padding are 0, as they are with it.
    """
    fused = model.forward
    in_bounds = str(model.config._attn_implementation).startswith("flash")

    @functools.wraps(fused)
    def forward(*inputs: Any, fused_lm_head: bool = False, **named: Any) -> Any:
        mask = named.get("attention_mask")
        if not fused_lm_head or mask is None:
            return fused(*inputs, fused_lm_head=fused_lm_head, **named)
        places = mask.bool()
        row = single_row(named.pop("input_ids"), named.pop("labels"), named.pop("attention_mask"), in_bounds)
        found = fused(*inputs, fused_lm_head=True, **row, **named)
        for name in PER_TOKEN:
            if getattr(found, name) is not None:
                found[name] = put_back(getattr(found, name), places)
        return found

    model.forward = forward


def single_row(
    ids: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor, in_bounds: bool
) -> dict[str, Any]:
    """The unmasked tokens of (batch, length) tensors as a batch of one row, with their positions.

    No token is predicted from another sequence: the first label of each is ignored. With `in_bounds` the row also
    says where each sequence begins and ends, and how long the longest is.
    """
    places = mask.bool()
    positions = (mask.cumsum(1) - 1)[places]
    row: dict[str, Any] = {
        "input_ids": ids[places][None],
        "position_ids": positions[None],
        "labels": labels[places].masked_fill(positions == 0, IGNORED)[None],
    }
    if in_bounds:
        lengths = mask.sum(1)
        ends = torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).to(torch.int32)
        longest = int(lengths.max())
        row |= {
            "cu_seq_lens_q": ends,
            "cu_seq_lens_k": ends,
            "max_length_q": longest,
            "max_length_k": longest,
        }
    return row


def put_back(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Values (1, tokens - 1) of predicted tokens where a padded batch has them: (batch, length - 1), else 0."""
    each = torch.nn.functional.pad(values[0], (1, 0))
    return torch.zeros_like(places, dtype=values.dtype).masked_scatter(places, each)[:, 1:]
