"""From what a rollout measured to what the update learns from, and the figures of the step."""

from collections.abc import Sequence

import torch

from workers.ppo.advantage import advantages_and_returns
from workers.ppo.averages import masked_mean, whiten
from workers.ppo.divergences import FULL
from workers.ppo.episodes import Batch, Episode
from workers.ppo.loss import explained_variance
from workers.ppo.regularizers import sampled_penalty
from workers.ppo.shaping import final_scores, shaped_rewards
from workers.specs.ppo import PpoRecipe

Found = dict[str, torch.Tensor]
WHOLE = ("true_kl", "entropy", "reference_entropy")
"""Figures of whole distributions, known where these were read."""
FULL_FIGURES = {"kl_full": "true_kl", "js_full": "js"}


def estimate(
    recipe: PpoRecipe, coefficient: float, batch: Batch, found: Found, episodes: Sequence[Episode]
) -> tuple[dict[str, float], Found]:
    """The step's figures, and its tensors: advantages, returns, and what later passes compare with.

    `found` is what `measures.measure` gave for the whole rollout.
    """
    settings, mask = recipe.estimation, batch.mask
    counted = torch.ones_like(mask) if settings.padding == "counted" else mask
    penalties = token_penalties(recipe.regularizer.penalty, found)
    ended = torch.tensor([one.ended for one in episodes], device=mask.device)
    scores = final_scores(found["scores"], ended, recipe.rollout.missing_end)
    in_reward = coefficient if recipe.regularizer.placement == "reward" else 0.0
    rewards = shaped_rewards(penalties, in_reward, scores, mask)
    if settings.whiten_rewards:
        rewards = whiten(rewards, counted, keep_mean=True)
    advantages, returns = advantages_and_returns(
        rewards, found["values"], counted, settings.gamma, settings.lam
    )
    figures = _figures(batch, found, penalties, returns, ended)
    figures["shaped_sum"] = float(shaped_rewards(penalties, in_reward, scores, mask).sum(1).mean())
    if settings.whiten_advantages:
        advantages = whiten(advantages, counted, keep_mean=False)
    kept = {name: found[name] for name in ("policy", "values", "reference", "scores")}
    return figures, {
        "advantages": advantages,
        "returns": returns,
        "rollout_policy": found["policy"].clone(),
        **kept,
    }


def token_penalties(name: str, found: Found) -> torch.Tensor:
    """The penalty of every response token, from sampled tokens or whole distributions; 0 at padding."""
    if name in FULL:
        return found[FULL_FIGURES[name]]
    return sampled_penalty(name, found["policy"], found["reference"])


def _figures(
    batch: Batch, found: Found, penalties: torch.Tensor, returns: torch.Tensor, ended: torch.Tensor
) -> dict[str, float]:
    """What is logged of a rollout, whatever its penalty."""
    mask = batch.mask
    lengths = mask.sum(1).float()
    means = {
        "score": found["scores"].mean(),
        "score_std": found["scores"].std(correction=0),
        "sampled_kl": masked_mean(found["policy"] - found["reference"], mask),
        "penalty": masked_mean(penalties, mask),
        "penalty_sum": penalties.sum(1).mean(),
        "response_length": lengths.mean(),
        "ended": ended.float().mean(),
        "value": masked_mean(found["values"], mask),
        "return": masked_mean(returns, mask),
        "return_std": returns[mask].std(correction=0),
        **{name: masked_mean(found[name], mask) for name in WHOLE if name in found},
    }
    values = torch.stack([each.float() for each in means.values()]).tolist()
    variance = explained_variance(found["values"], returns, mask)
    return {**dict(zip(means, values, strict=True)), "explained_variance": variance}
