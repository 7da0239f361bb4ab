"""The whole way from a rollout's figures to advantages and returns, against plain NumPy."""

import numpy as np
import pytest
import torch

from tests.workers.ppo import reference
from tests.workers.ppo.lab import ppo_recipe
from workers.ppo.divergences import js_full, kl_full
from workers.ppo.episodes import Batch, Episode
from workers.ppo.estimate import estimate
from workers.ppo.regularizers import SAMPLED
from workers.specs.ppo import Estimation, Regularizer, Rollout

ROWS, TOKENS, WORDS, COEFFICIENT, PENALTY = 5, 7, 6, 0.3, -1.0
LENGTHS = (1, 3, 4, 6, 7)
ENDED = (True, False, True, True, False)


class Measured:
    """What models of random whole distributions would have been measured to say, in double precision."""

    def __init__(self, seed: int) -> None:
        source = np.random.default_rng(seed)
        self.mask = np.arange(TOKENS)[None, :] < np.array(LENGTHS)[:, None]
        logits = source.normal(size=(2, ROWS, TOKENS, WORDS))
        self.p, self.q = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        tokens = source.integers(0, WORDS, (ROWS, TOKENS, 1))
        self.lp, self.lq = (np.log(np.take_along_axis(one, tokens, -1))[..., 0] for one in (self.p, self.q))
        self.values, self.scores = source.normal(size=(ROWS, TOKENS)), source.normal(size=ROWS)

    def found(self) -> dict[str, torch.Tensor]:
        """As `measures.measure` gives it: 0 at padding."""
        p, q = (torch.from_numpy(np.log(one)) for one in (self.p, self.q))
        given = {"policy": self.lp, "reference": self.lq, "true_kl": kl_full(p, q), "js": js_full(p, q)}
        given |= {"entropy": -self.lp, "reference_entropy": -self.lq}
        mask = torch.from_numpy(self.mask)
        hidden = {name: torch.as_tensor(each) * mask for name, each in given.items()}
        return hidden | {"values": torch.from_numpy(self.values), "scores": torch.from_numpy(self.scores)}

    def penalties(self, name: str) -> np.ndarray:
        """Of every token, real or not."""
        if name in ("kl_full", "js_full"):
            return reference.full(name, self.p, self.q)
        return np.vectorize(lambda lp, lq: reference.penalty(name, lp, lq))(self.lp, self.lq)

    def batch(self) -> tuple[Batch, list[Episode]]:
        """The episodes' lengths; their tokens play no part."""
        mask = torch.from_numpy(self.mask)
        empty = torch.zeros(mask.shape, dtype=torch.long)
        episodes = [
            Episode((1,), (2,) * length, (0.0,) * length, ended)
            for length, ended in zip(LENGTHS, ENDED, strict=True)
        ]
        return Batch(empty, empty, empty, mask), episodes


@pytest.mark.parametrize("padding", ["masked", "counted"])
@pytest.mark.parametrize("name", [*sorted(SAMPLED), "kl_full", "js_full"])
def test_from_figures_to_advantages(name: str, padding: str) -> None:
    measured = Measured(len(name))
    recipe = ppo_recipe(
        regularizer=Regularizer(penalty=name, coefficient=COEFFICIENT),
        estimation=Estimation(padding=padding, gamma=0.97, lam=0.9),
        rollout=Rollout(batch_size=8, missing_end=PENALTY),
    )
    batch, episodes = measured.batch()
    figures, kept = estimate(recipe, COEFFICIENT, batch, measured.found(), episodes)
    counted = measured.mask if padding == "masked" else np.ones_like(measured.mask)
    scores = np.where(ENDED, measured.scores, PENALTY)
    penalties = measured.penalties(name)
    advantages, returns = reference.estimate(
        penalties, COEFFICIENT, scores, measured.values, measured.mask, counted, 0.97, 0.9
    )
    np.testing.assert_allclose(kept["advantages"].numpy(), advantages, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(kept["returns"].numpy(), returns, rtol=1e-6, atol=1e-7)
    real = penalties[measured.mask]
    assert figures["penalty"] == pytest.approx(real.mean(), rel=1e-5, abs=1e-7)
    assert figures["penalty_sum"] == pytest.approx(real.sum() / ROWS, rel=1e-5, abs=1e-7)
    assert figures["shaped_sum"] == pytest.approx(scores.mean() - COEFFICIENT * real.sum() / ROWS, rel=1e-5)
    difference = (measured.lp - measured.lq)[measured.mask]
    assert figures["sampled_kl"] == pytest.approx(difference.mean(), rel=1e-5)


def test_a_penalty_in_the_loss_leaves_the_reward_alone() -> None:
    measured = Measured(0)
    batch, episodes = measured.batch()
    kept = []
    for regularizer in (
        Regularizer(penalty="none"),
        Regularizer(penalty="squared_error", placement="loss", coefficient=9.0),
    ):
        recipe = ppo_recipe(regularizer=regularizer)
        kept.append(estimate(recipe, regularizer.coefficient, batch, measured.found(), episodes)[1])
    assert torch.equal(kept[0]["advantages"], kept[1]["advantages"])
