"""Responses sampled with a key-value cache, many prompts at a time.

Each episode has a random stream of its own, so its draws do not depend on which other episodes share its batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from workers.evaluation.batches import left_padded
from workers.evaluation.forward import last_logits
from workers.identity import derive_seed
from workers.ppo.forward import normalised

RESOLUTION = 2**40
"""Probabilities are summed as whole numbers of this fineness: the sum has no order, so its bits are those of any
machine.
"""


@dataclass(frozen=True)
class Response:
    """What was said: ids up to and including an end mark, and the log-probability of each as it was drawn (nats)."""

    ids: list[int]
    log_probabilities: list[float]
    ended: bool


def draws(seed: int, episode: int, count: int) -> torch.Tensor:
    """The uniform numbers in [0, 1), float64, that decide the tokens of one episode of a run."""
    generator = torch.Generator().manual_seed(derive_seed(seed, f"rollout/{episode}"))
    return torch.rand(count, generator=generator, dtype=torch.float64)


def inverse_sample(log_probabilities: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """The token of each row (rows, vocabulary) at which the summed probability first exceeds `uniform` (rows,).

    A token of probability 0 is never drawn. Where probabilities are no numbers, any token is: its log-probability is
    none either.
    """
    parts = (log_probabilities.double().exp() * RESOLUTION).long()
    sums = parts.cumsum(-1)
    wanted = (uniform * sums[:, -1].double()).long().clamp(max=sums[:, -1] - 1)
    found = torch.searchsorted(sums, wanted[:, None], right=True)[:, 0]
    return found.clamp(max=sums.shape[1] - 1)


class Sampler:
    """Samples responses of at most `new_tokens` tokens at `temperature`; `ends` are the ids that end one."""

    def __init__(self, model: Any, ends: frozenset[int], new_tokens: int, temperature: float) -> None:
        self.model, self.ends, self.new_tokens, self.temperature = model, ends, new_tokens, temperature

    @torch.inference_mode()
    def sample(self, prompts: Sequence[Sequence[int]], uniforms: Sequence[torch.Tensor]) -> list[Response]:
        """One response for each prompt; `uniforms` holds `new_tokens` numbers for each (see `draws`)."""
        device = self.model.device
        tokens, scores = self._columns(prompts, torch.stack(list(uniforms)).to(device))
        rows = zip(
            torch.stack(tokens, dim=1).tolist(), torch.stack(scores, dim=1).double().tolist(), strict=True
        )
        return [self._response(ids, values) for ids, values in rows]

    def _response(self, ids: list[int], values: list[float]) -> Response:
        end = next((place + 1 for place, token in enumerate(ids) if token in self.ends), None)
        return Response(ids[:end], values[:end], end is not None)

    def _columns(
        self, prompts: Sequence[Sequence[int]], uniforms: torch.Tensor
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """A column of ids and of log-probabilities, each (rows,), for every position until all rows have ended."""
        ids, mask = (part.to(self.model.device) for part in left_padded(prompts))
        padded = bool((mask == 0).any())
        ends = torch.tensor(sorted(self.ends), device=ids.device)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        ended = torch.zeros(len(prompts), dtype=torch.bool, device=ids.device)
        tokens: list[torch.Tensor] = []
        scores: list[torch.Tensor] = []
        cache = None
        while len(tokens) < self.new_tokens and not bool(ended.all()):
            logits, cache = last_logits(
                self.model,
                input_ids=ids,
                attention_mask=mask if padded else None,
                position_ids=positions,
                past_key_values=cache,
            )
            known = normalised(logits, self.temperature)
            token = inverse_sample(known, uniforms[:, len(tokens)])
            tokens.append(token)
            scores.append(known.gather(1, token[:, None])[:, 0])
            ended |= torch.isin(token, ends)
            ids, positions = token[:, None], positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(prompts), 1)], dim=1)
        return tokens, scores
