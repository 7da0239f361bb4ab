"""Our figures against those that TRL 1.12's PPO trainer, the last that there is, made of the same episodes.

`recorded/record.py` wrote them. TRL adds the score one place after the end of a response that has one, values that
place too (`padding_mask_p1`), and whitens with the unbiased deviation; nothing else differs.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from workers.ppo.advantage import advantages_and_returns
from workers.ppo.averages import token_weights, whiten
from workers.ppo.loss import policy_loss, value_loss
from workers.ppo.regularizers import sampled_penalty
from workers.ppo.shaping import shaped_rewards

RECORD = json.loads((Path(__file__).parent / "recorded" / "trl_ppo.json").read_text())
SETTINGS = RECORD["settings"]
PENALTIES = {"k1": "kl", "k3": "bregman"}
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(params=PENALTIES)
def rollout(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The figures of one step as tensors, with the estimator's name."""
    found = RECORD[request.param]
    tensors = {name: torch.tensor(value) for name, value in found.items() if name != "updates"}
    return {"estimator": request.param, "updates": found["updates"], **tensors}


def penalties(rollout: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """The penalty of each real token, 0 at padding, and which tokens are real."""
    mask = ~rollout["padding_mask"]
    each = sampled_penalty(PENALTIES[rollout["estimator"]], rollout["logprobs"], rollout["ref_logprobs"])
    return torch.where(mask, each, torch.zeros_like(each)), mask


def test_it_was_trl_and_its_episodes_are_ragged(rollout: dict[str, Any]) -> None:
    assert RECORD["versions"]["trl"].startswith("1.12.")
    lengths = (~rollout["padding_mask"]).sum(1)
    assert lengths.min() == 1 and lengths.max() == rollout["padding_mask"].shape[1]
    assert len(set(lengths.tolist())) >= 4


def test_penalties_and_what_they_take_from_the_reward(rollout: dict[str, Any]) -> None:
    found, mask = penalties(rollout)
    torch.testing.assert_close(found, rollout["kl"], **CLOSE)
    taken = shaped_rewards(found, SETTINGS["kl_coef"], torch.zeros(len(found)), mask)
    torch.testing.assert_close(taken, rollout["non_score_reward"], **CLOSE)
    assert rollout["kl"][mask].abs().min() > 0


def test_rewards_but_for_the_place_of_the_score(rollout: dict[str, Any]) -> None:
    found, mask = penalties(rollout)
    ours = shaped_rewards(found, SETTINGS["kl_coef"], rollout["scores"], mask)
    torch.testing.assert_close(ours.sum(1), rollout["rewards"].sum(1), **CLOSE)
    whole = mask.all(1)
    torch.testing.assert_close(ours[whole], rollout["rewards"][whole], **CLOSE)


def test_returns_and_advantages(rollout: dict[str, Any]) -> None:
    valued, mask = ~rollout["padding_mask_p1"], ~rollout["padding_mask"]
    gamma, lam = SETTINGS["gamma"], SETTINGS["lam"]
    advantages, returns = advantages_and_returns(rollout["rewards"], rollout["values"], valued, gamma, lam)
    torch.testing.assert_close(returns[valued], rollout["returns"][valued], **CLOSE)
    count = int(mask.sum())
    unbiased = whiten(advantages, mask, keep_mean=False) * ((count - 1) / count) ** 0.5
    torch.testing.assert_close(unbiased, rollout["advantages"], rtol=1e-4, atol=1e-5)


def test_clipped_losses_and_their_masked_means(rollout: dict[str, Any]) -> None:
    assert len(rollout["updates"]) == 4
    for update in rollout["updates"]:
        found = {name: torch.tensor(value) for name, value in update.items()}
        mask, valued = ~found["padding_mask"], ~found["padding_mask_p1"]
        policy = policy_loss(
            found["new_logprobs"], found["mb_logprobs"], found["mb_advantage"], SETTINGS["cliprange"]
        )
        value = value_loss(
            found["vpred"], found["mb_values"], found["mb_return"], SETTINGS["cliprange_value"]
        )
        torch.testing.assert_close(policy.loss[mask], found["pg_loss_max"][mask], **CLOSE)
        torch.testing.assert_close(2 * value.loss[valued], found["vf_loss_max"][valued], **CLOSE)
        sums = {
            "pg_loss": (policy.loss, mask),
            "pg_clipfrac": (policy.clipped, mask),
            "vf_loss": (value.loss, valued),
            "vf_clipfrac": (value.clipped, valued),
        }
        for name, (tokens, real) in sums.items():
            torch.testing.assert_close((tokens * token_weights(real)).sum(), found[name], **CLOSE)
    assert max(update["pg_clipfrac"] for update in rollout["updates"]) > 0.1
