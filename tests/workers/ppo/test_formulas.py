"""Shaping, whitening, advantages, losses and averages against plain NumPy, with ragged episodes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.ppo import reference
from workers.ppo.advantage import advantages_and_returns
from workers.ppo.averages import masked_mean, token_weights, whiten
from workers.ppo.loss import approximate_kl, explained_variance, policy_loss, value_loss
from workers.ppo.shaping import Controller, final_scores, last_positions, shaped_rewards

SEEDS = st.integers(0, 2**20)
QUICK = settings(deadline=None, max_examples=40)


def ragged(seed: int):
    """Values (rows, columns) in double precision and a mask whose rows end anywhere but at once."""
    source = np.random.default_rng(seed)
    rows, columns = int(source.integers(2, 6)), int(source.integers(1, 8))
    lengths = source.integers(1, columns + 1, rows)
    mask = np.arange(columns)[None, :] < lengths[:, None]
    return source, mask


def tensors(*arrays):
    return [torch.from_numpy(np.asarray(array)) for array in arrays]


@QUICK
@given(SEEDS, st.floats(-1, 1))
def test_shaped_rewards(seed, coefficient):
    source, mask = ragged(seed)
    penalties, scores = source.normal(size=mask.shape), source.normal(size=len(mask))
    found = shaped_rewards(*tensors(penalties), coefficient, *tensors(scores, mask))
    assert np.allclose(found.numpy(), reference.shaped(penalties, coefficient, scores, mask))


@QUICK
@given(SEEDS, st.booleans(), st.booleans())
def test_whitening_over_real_tokens_or_all(seed, keep_mean, counted):
    source, mask = ragged(seed)
    mask = np.ones_like(mask) if counted else mask
    values = source.normal(3.0, 2.0, size=mask.shape)
    found = whiten(*tensors(values, mask), keep_mean=keep_mean).numpy()
    assert np.allclose(found, reference.whiten(values, mask, keep_mean))


@QUICK
@given(SEEDS, st.sampled_from([1.0, 0.9]), st.sampled_from([0.0, 0.95, 1.0]), st.booleans())
def test_advantages_and_returns(seed, gamma, lam, counted):
    source, mask = ragged(seed)
    mask = np.ones_like(mask) if counted else mask
    rewards, values = source.normal(size=mask.shape) * mask, source.normal(size=mask.shape)
    found = advantages_and_returns(*tensors(rewards, values, mask), gamma, lam)
    for ours, theirs in zip(found, reference.gae(rewards, values, mask, gamma, lam), strict=False):
        assert np.allclose(ours.numpy(), theirs)


@QUICK
@given(SEEDS)
def test_what_stands_at_padding_reaches_no_real_token(seed):
    source, mask = ragged(seed)
    rewards, values = source.normal(size=mask.shape), source.normal(size=mask.shape)
    clean = advantages_and_returns(*tensors(rewards * mask, values * mask, mask), 1.0, 0.95)
    dirty = advantages_and_returns(*tensors(rewards * mask, np.where(mask, values, np.nan), mask), 1.0, 0.95)
    assert all(torch.equal(one, other) for one, other in zip(clean, dirty, strict=False))


def test_lambda_one_without_values_is_the_sum_of_rewards_to_come():
    rewards = torch.tensor([[1.0, 2.0, 3.0]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    advantages, returns = advantages_and_returns(rewards, torch.zeros(1, 3), mask, 1.0, 1.0)
    assert advantages.tolist() == returns.tolist() == [[6.0, 5.0, 3.0]]


@QUICK
@given(SEEDS)
def test_clipped_losses(seed):
    source, mask = ragged(seed)
    new, old, advantage, target = (source.normal(0, 0.5, size=mask.shape) for _ in range(4))
    policy = policy_loss(*tensors(new, old, advantage), 0.2)
    value = value_loss(*tensors(new, old, target), 0.2)
    each = np.vectorize(reference.policy_loss)(new, old, advantage, 0.2)
    assert np.allclose(policy.loss.numpy(), each)
    assert np.allclose(value.loss.numpy(), np.vectorize(reference.value_loss)(new, old, target, 0.2))
    ratio = np.exp(new - old)
    clipped = ((advantage > 0) & (ratio > 1.2)) | ((advantage < 0) & (ratio < 0.8))
    assert np.array_equal(policy.clipped.numpy(), clipped)


def test_a_clipped_token_has_no_gradient():
    new = torch.tensor([0.5, 0.0], requires_grad=True)
    policy_loss(new, torch.zeros(2), torch.ones(2), 0.2).loss.sum().backward()
    assert new.grad.tolist() == [0.0, -1.0]


@QUICK
@given(SEEDS, st.sampled_from(["token_mean", "seq_mean_token_mean"]))
def test_weights_are_the_mean_they_are_named_for(seed, average):
    source, mask = ragged(seed)
    values = source.normal(size=mask.shape).astype(np.float32)
    found = float((torch.from_numpy(values) * token_weights(torch.from_numpy(mask), average)).sum())
    if average == "token_mean":
        expected = values[mask].mean()
    else:
        expected = np.mean([row[real].mean() for row, real in zip(values, mask, strict=False)])
    assert found == pytest.approx(float(expected), abs=1e-5)
    assert float(masked_mean(*tensors(values, mask))) == pytest.approx(float(values[mask].mean()), abs=1e-5)


def test_explained_variance_of_perfect_useless_and_constant():
    returns, mask = torch.tensor([[1.0, 2.0, 4.0]]), torch.ones(1, 3, dtype=torch.bool)
    assert explained_variance(returns, returns, mask) == 1.0
    assert explained_variance(torch.zeros(1, 3), returns, mask) == 0.0
    assert explained_variance(returns, torch.ones(1, 3), mask) == 0.0


def test_the_published_distance_of_an_update():
    assert approximate_kl(torch.tensor([0.3]), torch.tensor([0.1])).item() == pytest.approx(0.02)


def test_a_missing_end_mark_replaces_the_score():
    scores, ended = torch.tensor([2.0, 3.0]), torch.tensor([True, False])
    assert final_scores(scores, ended, -1.0).tolist() == [2.0, -1.0]
    assert torch.equal(final_scores(scores, ended, None), scores)


def test_an_episode_without_a_token_is_refused():
    with pytest.raises(ValueError, match="no token"):
        last_positions(torch.tensor([[True, True], [False, False]]))


@pytest.mark.parametrize(
    ("measured", "expected"), [(6.0, 0.2), (60.0, 0.2 * 1.02), (0.0, 0.2 * 0.98), (6.6, 0.2 * 1.01)]
)
def test_the_adaptive_coefficient(measured, expected):
    assert Controller(6.0, 0.1).next(0.2, measured) == pytest.approx(expected)
