"""Exact divergences over the whole vocabulary, for measurement and as penalties (study, sections 6.1 and 7.3).

Arguments are log-probabilities (…, vocabulary) in nats, normalised over the last dimension; results drop it.
"""

from collections.abc import Callable

import torch

Divergence = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def kl_full(policy: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """`sum_v p (log p - log q)`: KL(policy, reference). The mean over response tokens is the true KL of 7.3."""
    return expected(policy.exp(), policy - reference)


def expected(probabilities: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """`sum_v p x`: what the values are on average."""
    return (probabilities * values).sum(-1)


def js_full(policy: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """`(KL(policy, m) + KL(reference, m)) / 2` with `m` the mean of both distributions, at most ln 2."""
    middle = torch.logaddexp(policy, reference) - torch.log(torch.tensor(2.0, dtype=policy.dtype))
    return (kl_full(policy, middle) + kl_full(reference, middle)) / 2.0


def entropy(log_probabilities: torch.Tensor) -> torch.Tensor:
    """`- sum_v p log p`."""
    return -expected(log_probabilities.exp(), log_probabilities)


FULL: dict[str, Divergence] = {"kl_full": kl_full, "js_full": js_full}
"""The penalties that need both whole distributions."""
