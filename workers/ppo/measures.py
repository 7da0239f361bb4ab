"""What a rollout's forward passes give: log-probabilities, divergences, values and scores of every episode."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from workers.evaluation.batches import right_padded
from workers.ppo import forward
from workers.ppo.backbones import Models
from workers.ppo.divergences import entropy, expected, js_full
from workers.ppo.episodes import Batch, Episode, drawn_log_probabilities

SAMPLES_KEPT = 64
"""So many episodes of the last rollout are kept as text."""


@dataclass(frozen=True)
class Scoring:
    """How episodes are measured.

    `end_mark` shows the reward model the end mark of a response, `as_text` scores the decoded text, tokenized anew.
    `padding` measures values at padding too; without `whole` only sampled tokens are read, those of the policy as they
    were drawn.
    """

    temperature: float
    end_mark: bool
    as_text: bool
    padding: bool
    divergence: bool
    whole: bool = True


def measure(
    models: Models, batch: Batch, episodes: Sequence[Episode], how: Scoring
) -> dict[str, torch.Tensor]:
    """Figures of a batch under the models of now, without gradients.

    `policy`, `reference` (log-probabilities of the tokens), `true_kl`, `entropy`, `reference_entropy`, `values`, and
    with `divergence` also `js`, are (episodes, tokens), 0 at padding (values only without `padding`); `scores` is
    (episodes,). Without `how.whole` there is neither divergence nor entropy.
    """
    with torch.inference_mode():
        found = _distributions(models, batch, how) if how.whole else _sampled(models, batch, episodes, how)
        visible = forward.visible_ids(batch) if how.padding else None
        found["values"] = forward.values(models.value, models.head, batch, visible)
        with models.reward() as reward:
            found["scores"] = _scores(reward, models.tokenizer, batch, episodes, how)
    # Tensors made in inference mode cannot take part in a backward pass.
    return {name: tensor.clone() for name, tensor in found.items()}


def _distributions(models: Models, batch: Batch, how: Scoring) -> dict[str, torch.Tensor]:
    policy = forward.response_log_probabilities(models.policy, batch, how.temperature)
    with models.reference() as model:
        reference = forward.response_log_probabilities(model, batch, how.temperature)
    probabilities = policy.exp()
    figures = {
        "true_kl": expected(probabilities, policy - reference),
        "entropy": -expected(probabilities, policy),
        "reference_entropy": entropy(reference),
    }
    del probabilities
    if how.divergence:
        figures["js"] = js_full(policy, reference)
    hidden = {
        name: torch.where(batch.mask, value, torch.zeros_like(value)) for name, value in figures.items()
    }
    return hidden | {
        "policy": forward.of_tokens(policy, batch),
        "reference": forward.of_tokens(reference, batch),
    }


def _sampled(
    models: Models, batch: Batch, episodes: Sequence[Episode], how: Scoring
) -> dict[str, torch.Tensor]:
    with models.reference() as model:
        reference = forward.response_log_probabilities(model, batch, how.temperature)
    drawn = drawn_log_probabilities(episodes, batch.mask.shape[1])
    return {"policy": drawn.to(reference.device), "reference": forward.of_tokens(reference, batch)}


def _scores(
    reward: Any, tokenizer: Any, batch: Batch, episodes: Sequence[Episode], how: Scoring
) -> torch.Tensor:
    if not how.as_text:
        hidden = torch.tensor([one.ended and not how.end_mark for one in episodes], device=batch.ids.device)
        return forward.scores(reward, batch.ids, batch.before[:, 0] + batch.mask.sum(1) - hidden.long())
    rows = [tokenizer(text)["input_ids"] for text in texts(tokenizer, episodes)]
    limit = getattr(reward.config, "max_position_embeddings", None) or max(map(len, rows))
    cut = [row[:limit] for row in rows]
    last = torch.tensor([len(row) - 1 for row in cut], device=batch.ids.device)
    return forward.scores(reward, right_padded(cut).to(batch.ids.device), last)


def texts(tokenizer: Any, episodes: Sequence[Episode]) -> list[str]:
    """Prompt and response as text, decoded apart without marks and joined: what the published reward model read."""
    prompts = tokenizer.batch_decode([list(one.prompt) for one in episodes], skip_special_tokens=True)
    responses = tokenizer.batch_decode([list(one.response) for one in episodes], skip_special_tokens=True)
    return [prompt + response for prompt, response in zip(prompts, responses, strict=True)]


def rollout_samples(
    tokenizer: Any, episodes: Sequence[Episode], scores: Sequence[float]
) -> list[dict[str, Any]]:
    """Rows for `samples.parquet`: the first of the episodes as text, with their scores."""
    return [
        {
            "task": "rollout",
            "item": place,
            "prompt": tokenizer.decode(list(one.prompt), skip_special_tokens=True),
            "completion": tokenizer.decode(list(one.response), skip_special_tokens=True),
            "score": score,
            "verdict": "ended" if one.ended else "cut",
        }
        for place, (one, score) in enumerate(zip(episodes[:SAMPLES_KEPT], scores, strict=False))
    ]
