"""Forward passes over episodes: log-probabilities, values and scores where they are needed, and nowhere else.

Sequences are padded on the right and attention is causal, so what stands behind a token never reaches it and no mask is
needed. Only where padding itself counts (the published form) is it hidden from attention.
"""

from typing import Any

import torch
from torch import nn

from workers.evaluation.forward import base_model
from workers.ppo.episodes import Batch


def hidden_states(model: Any, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """The last hidden states (rows, longest, width) of the decoder inside a causal or a scoring model."""
    decoder = base_model(model).base_model
    states: torch.Tensor = decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    return states


def at(states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """The states (rows, tokens, width) at `places` (rows, tokens)."""
    return states.gather(1, places[:, :, None].expand(-1, -1, states.shape[-1]))


def response_log_probabilities(model: Any, batch: Batch, temperature: float) -> torch.Tensor:
    """Log-probabilities of the whole vocabulary for every response token: (episodes, tokens, vocabulary), fp32."""
    states = at(hidden_states(model, batch.ids), batch.before)
    logits = base_model(model).get_output_embeddings()(states)
    return normalised(logits, temperature)


def normalised(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Log-probabilities, fp32, of logits divided by `temperature`; at 1 that division would be one more copy."""
    warmed = logits.float() if temperature == 1.0 else logits.float() / temperature
    return warmed.log_softmax(-1)


def of_tokens(log_probabilities: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Those of the sampled tokens, (episodes, tokens), 0 at padding."""
    chosen = log_probabilities.gather(-1, batch.response[:, :, None])[:, :, 0]
    return torch.where(batch.mask, chosen, torch.zeros_like(chosen))


def values(model: Any, head: nn.Linear, batch: Batch, visible: torch.Tensor | None = None) -> torch.Tensor:
    """The value before every response token, (episodes, tokens), fp32.

    That of position t reads the state of the token before it, so it depends on the prefix alone. `visible` hides
    padding from attention.
    """
    states = at(hidden_states(model, batch.ids, visible), batch.before)
    found: torch.Tensor = head(states.to(head.weight.dtype))[:, :, 0].float()
    return found


def visible_ids(batch: Batch) -> torch.Tensor:
    """Which columns of `ids` are real, (episodes, longest), as attention masks have it."""
    ends = batch.before[:, :1] + 1 + batch.mask.sum(1, keepdim=True)
    columns = torch.arange(batch.ids.shape[1], device=batch.ids.device)
    return (columns[None, :] < ends).long()


def scores(model: Any, ids: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """The reward model's score at place `last` (rows,) of each row of `ids`; (rows,), fp32."""
    states = hidden_states(model, ids)[torch.arange(len(ids), device=ids.device), last]
    found: torch.Tensor = base_model(model).score(states)[:, 0].float()
    return found
