"""From scores and penalties to a reward for every token (study, section 6.2)."""

from dataclasses import dataclass

import torch


def last_positions(mask: torch.Tensor) -> torch.Tensor:
    """The column of each episode's last real token, (episodes,); every episode has one at least.

    ValueError for an episode without a token: -1 would silently mean the last column.
    """
    lengths = mask.sum(1)
    if bool((lengths == 0).any()):
        raise ValueError("an episode has no token")
    return lengths - 1


def final_scores(scores: torch.Tensor, ended: torch.Tensor, missing_end: float | None) -> torch.Tensor:
    """Scores in which that of a response without an end mark is `missing_end`; None leaves them as they are."""
    return scores if missing_end is None else torch.where(ended, scores, torch.full_like(scores, missing_end))


def shaped_rewards(
    penalties: torch.Tensor, coefficient: float, scores: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """`r_t = - coefficient k_t`, plus the episode's score at its last real token; 0 at padding."""
    rewards = torch.where(mask, -coefficient * penalties, torch.zeros_like(penalties))
    rows = torch.arange(len(scores), device=scores.device)
    rewards[rows, last_positions(mask)] += scores
    return rewards


@dataclass(frozen=True)
class Controller:
    """The adaptive coefficient (study, section 5): `coef *= 1 + gain clip(KL / target - 1, -0.2, 0.2)`."""

    target: float
    gain: float

    def next(self, coefficient: float, sequence_kl: float) -> float:
        """The coefficient after a step whose mean summed penalty per episode was `sequence_kl`."""
        error = min(max(sequence_kl / self.target - 1.0, -0.2), 0.2)
        return coefficient * (1.0 + self.gain * error)
