"""Per-token penalties on leaving the reference, from the sampled tokens alone (study, section 6.1).

With `lp` the log-probability of the sampled token under the policy, `lq` under the reference, and `d = lp - lq`.
Tokens are sampled from the policy, so the mean of an unbiased penalty is a divergence of the two models.
"""

import math
from collections.abc import Callable

import torch
from torch.nn.functional import softplus

from workers.kinds import unknown

LARGEST_EXPONENT = 10.0
"""`exp` of a difference of log-probabilities is cut at `exp(10)`, so that one improbable token is no infinity."""
LN2 = math.log(2.0)
Penalty = Callable[[torch.Tensor], torch.Tensor]


def kl(difference: torch.Tensor) -> torch.Tensor:
    """`d`: the k1 estimator of KL(policy, reference), unbiased, of either sign."""
    return difference


def clamped_kl(difference: torch.Tensor) -> torch.Tensor:
    """`max(d, 0)`: AlpacaFarm's own penalty."""
    return difference.clamp(min=0.0)


def bregman(difference: torch.Tensor) -> torch.Tensor:
    """`exp(-d) - 1 + d`: the k3 estimator of KL(policy, reference), unbiased and never negative."""
    return _exp(-difference) - 1.0 + difference


def bregman_v0(difference: torch.Tensor) -> torch.Tensor:
    """`exp(d) - 1 - d`: the first release's form; its mean is chi-square(policy, reference) - KL."""
    return _exp(difference) - 1.0 - difference


def squared_error(difference: torch.Tensor) -> torch.Tensor:
    """`d² / 2`: the k2 estimator."""
    return difference.square() / 2.0


def jensen_shannon(difference: torch.Tensor) -> torch.Tensor:
    """`(ln 2 - softplus(-|d|)) / 2`, at most `ln 2 / 2`.

    It equals `(max(lp - log m, 0) + max(lq - log m, 0)) / 2` with `m` the mean of the two probabilities, and does
    not underflow as that form does. It is not an unbiased estimate of the Jensen-Shannon divergence.
    """
    return (LN2 - softplus(-difference.abs())) / 2.0


def js_unbiased(difference: torch.Tensor) -> torch.Tensor:
    """`((ln 2 - softplus(-d)) + exp(-d) (ln 2 - softplus(d))) / 2`: unbiased for JS(policy, reference)."""
    forward = LN2 - softplus(-difference)
    return (forward + _exp(-difference) * (LN2 - softplus(difference))) / 2.0


def none(difference: torch.Tensor) -> torch.Tensor:
    """0 for every token."""
    return torch.zeros_like(difference)


SAMPLED: dict[str, Penalty] = {
    "kl": kl,
    "clamped_kl": clamped_kl,
    "bregman": bregman,
    "bregman_v0": bregman_v0,
    "squared_error": squared_error,
    "jensen_shannon": jensen_shannon,
    "js_unbiased": js_unbiased,
    "none": none,
}
"""The penalties that need the sampled token alone."""


def sampled_penalty(name: str, policy: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """The penalty of each sampled token, from its log-probabilities under policy and reference (same shape).

    ValueError for a name that is none of `SAMPLED`.
    """
    if name not in SAMPLED:
        raise ValueError(unknown("regularizer", name, SAMPLED))
    return SAMPLED[name](policy - reference)


def _exp(value: torch.Tensor) -> torch.Tensor:
    return value.clamp(max=LARGEST_EXPONENT).exp()
