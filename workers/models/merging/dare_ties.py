"""DARE-TIES: drop and rescale (Yu et al., arXiv 2311.03099), then elect signs (Yadav et al., arXiv
2306.01708).
"""

from collections.abc import Sequence

import torch


def dare(delta: torch.Tensor, density: float, generator: torch.Generator) -> torch.Tensor:
    """Keep each entry with probability `density` and divide it by `density`; fp32, drawn on the CPU."""
    kept = torch.rand(delta.shape, generator=generator, dtype=torch.float32) < density
    return torch.where(kept.to(delta.device), delta.float() / density, 0.0)


def ties(deltas: Sequence[torch.Tensor], weights: Sequence[float], normalize: bool = False) -> torch.Tensor:
    """`sum_i w_i delta_i` over the entries whose sign is that of the whole sum; fp32.

    `normalize` divides each entry by the sum of the weights that were kept there.
    """
    weighted = torch.stack([weight * delta.float() for delta, weight in zip(deltas, weights, strict=True)])
    elected = torch.sign(weighted.sum(dim=0))
    agrees = (torch.sign(weighted) == elected) & (weighted != 0)
    merged = torch.where(agrees, weighted, 0.0).sum(dim=0)
    if not normalize:
        return merged
    column = torch.tensor(list(weights), dtype=torch.float32).view(-1, *[1] * deltas[0].dim())
    total = torch.where(agrees, column.to(merged.device), 0.0).sum(dim=0)
    return torch.where(total != 0, merged / torch.where(total != 0, total, 1.0), 0.0)


def dare_ties(
    base: torch.Tensor,
    deltas: Sequence[torch.Tensor],
    weights: Sequence[float],
    *,
    density: float,
    scale: float,
    normalize: bool,
    generators: Sequence[torch.Generator],
) -> torch.Tensor:
    """`theta_base + scale * ties(dare(delta_i))`; one generator for each parent; fp32."""
    thinned = [dare(delta, density, generator) for delta, generator in zip(deltas, generators, strict=True)]
    return base.float() + scale * ties(thinned, weights, normalize)
