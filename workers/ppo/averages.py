"""Means over the tokens of a batch, as weights that sum to one (study, sections 6.5 and 6.6).

A loss is the sum of its tokens times their weights, so a batch can be computed in parts of any size: each part brings
its own rows of the weights, and the gradients of the parts add up to that of the whole.
"""

from typing import Literal

import torch

Average = Literal["token_mean", "seq_mean_token_mean"]


def token_weights(mask: torch.Tensor, average: Average = "token_mean") -> torch.Tensor:
    """Weights (episodes, tokens) of the true positions of `mask`; those of the others are 0.

    `token_mean` weighs every token of the batch alike, `seq_mean_token_mean` every episode alike. An all-true mask is
    the published mean over padding too.
    """
    real = mask.to(torch.float32)
    if average == "token_mean":
        return real / real.sum()
    lengths = real.sum(1, keepdim=True).clamp(min=1.0)
    return real / lengths / (real.sum(1) > 0).sum()


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean of the values where `mask` is true."""
    return values[mask].mean()


def whiten(values: torch.Tensor, mask: torch.Tensor, *, keep_mean: bool) -> torch.Tensor:
    """`(x - mean) / (std + 1e-8)`, plus the mean with `keep_mean`; positions outside `mask` become 0.

    Mean and biased standard deviation are those of the positions in `mask` (study, section 6.3).
    """
    inside = values[mask]
    mean, deviation = inside.mean(), inside.std(correction=0)
    whitened = (values - mean) / (deviation + 1e-8)
    return torch.where(mask, whitened + mean if keep_mean else whitened, torch.zeros_like(values))
