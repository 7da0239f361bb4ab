"""The loss of a language model without all of its logits at once.

SFT, DPO and reference log-probabilities take TRL's fused head as it comes. Here pre-training, which otherwise has
transformers' loss over whole logits, gets the function beneath it: tiles of logits, at most 4,096 positions by `WORDS`
words, are made one after another, forwards and again backwards.
"""

import functools
from typing import Any

import torch
from transformers.modeling_outputs import ModelOutput
from trl.kernels.chunked_logprob import ChunkedLogProbFunction
from trl.trainer.utils import maybe_gather_lm_head_ctx

WORDS = {"cpu": 4096, "cuda": 32_768}
"""The width of a tile. A CPU makes several copies of it (docs/memory.md), a GPU works in place."""
IGNORED = -100


def compute_loss_in_chunks(model: Any) -> None:
    """From now on `model(…, labels=…)` gives `loss` and `log_probs` of shape (batch, length - 1), and no logits.

    Without `labels` the model answers as before. `loss` is the mean over the predicted tokens, or with
    `num_items_in_batch` their sum by that number, as transformers has it; both are equal to it up to rounding. The
    head must be a plain linear layer: only its weights are read.
    """
    whole = model.forward

    @functools.wraps(whole)
    def forward(*inputs: Any, labels: Any = None, num_items_in_batch: Any = None, **others: Any) -> Any:
        if labels is None:
            return whole(*inputs, **others)
        others["use_cache"] = False
        states = model.base_model(*inputs, **others).last_hidden_state
        log_probs = chunked_log_probs(model.get_output_embeddings(), states[:, :-1], labels[:, 1:])
        count = (labels[:, 1:] != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        return ModelOutput(loss=-log_probs.sum() / count, log_probs=log_probs)

    model.forward = forward


def chunked_log_probs(head: Any, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log-probabilities (batch, length) of `targets` from states (batch, length, hidden), 0 where they are ignored."""
    with maybe_gather_lm_head_ctx(head.weight, head.bias):
        found = ChunkedLogProbFunction.apply(
            states.reshape(-1, states.shape[-1]),
            head.weight,
            head.bias,
            targets.clamp(min=0).reshape(-1),
            1.0,
            WORDS[states.device.type],
            None,
            1.0,
            (),
        )[0]
    log_probs: torch.Tensor = found.view(targets.shape).masked_fill(targets == IGNORED, 0.0)
    return log_probs
