"""PPO's clipped losses (Schulman et al., arXiv 1707.06347; study, section 6.5), token by token, without the mean."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Clipped:
    """A loss for every token and which tokens were clipped, both (episodes, tokens)."""

    loss: torch.Tensor
    clipped: torch.Tensor


def policy_loss(new: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor, clip: float) -> Clipped:
    """`max(-A rho, -A clip(rho, 1 - clip, 1 + clip))` with `rho = exp(new - old)`.

    A token counts as clipped where the second term is the larger one, so that its gradient is 0.
    """
    ratio = (new - old).exp()
    plain = -advantages * ratio
    bounded = -advantages * ratio.clamp(1.0 - clip, 1.0 + clip)
    return Clipped(torch.maximum(plain, bounded), bounded > plain)


def value_loss(new: torch.Tensor, old: torch.Tensor, returns: torch.Tensor, clip: float) -> Clipped:
    """`max((V - R)², (V_c - R)²) / 2` with `V_c = clip(V, V_old - clip, V_old + clip)`."""
    plain = (new - returns).square()
    bounded = (old + (new - old).clamp(-clip, clip) - returns).square()
    return Clipped(torch.maximum(plain, bounded) / 2.0, bounded > plain)


def explained_variance(values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor) -> float:
    """`1 - var(R - V) / var(R)` over the real tokens; 0 where the returns do not vary."""
    inside = returns[mask].double()
    spread = float(inside.var(correction=0))
    if spread == 0.0:
        return 0.0
    return 1.0 - float((inside - values[mask].double()).var(correction=0)) / spread


def approximate_kl(new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """`(new - old)² / 2` of every token: how far an update moved the policy from its rollout."""
    return (new - old).square() / 2.0
