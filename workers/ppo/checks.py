"""What every run proves about itself: that it rolls out the adapter it trains, and that its figures are numbers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from workers.context import BadInput

EXACT = 1e-4
"""Mean nats a token between the log-probabilities of a rollout and those of the trainer, in fp32."""
ROUNDED = 0.05
"""The same in fewer bits, where a key-value cache rounds otherwise than a whole pass."""


class Diverged(Exception):
    """The run has no way on: a result, stored with what was reached. The text says why."""


def check_finite(figures: Mapping[str, float], step: int) -> None:
    """Raise `Diverged` where a figure of PPO step `step` (from 1) is not a number."""
    wrong = [f"{name} is {value}" for name, value in figures.items() if not math.isfinite(value)]
    if wrong:
        raise Diverged(f"diverged at step {step}: {wrong[0]}")


def check_positions(model: Any, prompts: Sequence[Sequence[int]], new_tokens: int) -> None:
    """Raise `BadInput` where the longest prompt and a response of `new_tokens` outgrow the model's positions."""
    known = getattr(model.config, "max_position_embeddings", None)
    longest = max(map(len, prompts))
    if known is not None and longest + new_tokens > known:
        raise BadInput(
            f"the longest prompt has {longest} tokens and a response may have {new_tokens}: together more than the "
            f"{known} positions that the model knows; lower `prompt_tokens` or the longest response"
        )


def rollout_gap(drawn: torch.Tensor, policy: torch.Tensor, mask: torch.Tensor, tolerance: float) -> float:
    """The mean difference (nats) of log-probabilities as drawn and as the trainer computes them.

    RuntimeError when it exceeds `tolerance`: the rollout came from other weights than those that are trained.
    """
    gap = float((drawn - policy)[mask].abs().mean())
    if gap > tolerance:
        raise RuntimeError(
            f"the rollout does not come from the current adapter: its log-probabilities differ from the trainer's by "
            f"{gap:.4g} nats a token (tolerance {tolerance:g})"
        )
    return gap


def copies(parameters: Iterable[nn.Parameter]) -> list[torch.Tensor]:
    """The values of now."""
    return [parameter.detach().clone() for parameter in parameters]


def moved(before: list[torch.Tensor], parameters: Iterable[nn.Parameter]) -> bool:
    """Whether any value has changed."""
    return any(not torch.equal(old, new.detach()) for old, new in zip(before, parameters, strict=True))


def check_response(before: torch.Tensor, after: torch.Tensor) -> None:
    """RuntimeError when an update that moved the adapter left every log-probability as it was."""
    if torch.equal(before, after):
        raise RuntimeError(
            "an update moved the adapter, and no log-probability of the policy changed: it is not used"
        )
