"""Generalized advantage estimation (Schulman et al., arXiv 1506.02438; study, sections 6.4 and 6.6)."""

import torch


def advantages_and_returns(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages before whitening, and returns `R = A + V`; all (episodes, tokens), 0 outside `mask`.

    `delta_t = r_t + gamma V_{t+1} - V_t`, `A_t = delta_t + gamma lam A_{t+1}`. Beyond the last position of `mask`
    values and advantages are 0: with the response's own mask an episode stops at its end, with an all-true mask
    padding counts as published.
    """
    real = mask.to(values.dtype)
    values = torch.where(mask, values, torch.zeros_like(values))
    following = torch.zeros_like(values[:, 0])
    advantage = torch.zeros_like(following)
    columns: list[torch.Tensor] = []
    for position in range(values.shape[1] - 1, -1, -1):
        delta = rewards[:, position] + gamma * following - values[:, position]
        advantage = (delta + gamma * lam * advantage) * real[:, position]
        following = values[:, position]
        columns.append(advantage)
    advantages = torch.stack(columns[::-1], dim=1)
    return advantages, (advantages + values) * real
