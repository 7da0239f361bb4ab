"""Every penalty against its formula, and what each is known to be."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.ppo import reference
from workers.ppo.divergences import entropy, js_full, kl_full
from workers.ppo.regularizers import SAMPLED, jensen_shannon, sampled_penalty

LOG_PROBABILITIES = st.floats(-9.0, -1e-3)
NAMES = sorted(SAMPLED)
QUICK = settings(deadline=None, max_examples=40)


@pytest.mark.parametrize("name", NAMES)
@QUICK
@given(lp=LOG_PROBABILITIES, lq=LOG_PROBABILITIES)
def test_formula(name, lp, lq):
    found = sampled_penalty(
        name, torch.tensor([lp], dtype=torch.float64), torch.tensor([lq], dtype=torch.float64)
    )
    assert found.item() == pytest.approx(reference.penalty(name, lp, lq), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_no_penalty_where_the_models_agree(name):
    same = torch.tensor([-0.1, -3.0, -20.0])
    assert torch.equal(sampled_penalty(name, same, same).abs(), torch.zeros(3))


@QUICK
@given(st.floats(-60.0, 60.0))
def test_jensen_shannon_is_symmetric_and_bounded(difference):
    value, mirrored = (jensen_shannon(torch.tensor([sign * difference])).item() for sign in (1, -1))
    assert value == mirrored
    assert -1e-7 <= value <= math.log(2) / 2 + 1e-7


def test_jensen_shannon_does_not_underflow_and_starts_with_a_quarter_of_the_slope():
    tiny = sampled_penalty("jensen_shannon", torch.tensor([-1000.0]), torch.tensor([-1001.0]))
    assert tiny.item() == pytest.approx((math.log(2) - math.log1p(math.exp(-1))) / 2, rel=1e-6)
    assert jensen_shannon(torch.tensor([1e-3], dtype=torch.float64)).item() == pytest.approx(
        1e-3 / 4, rel=1e-3
    )


@pytest.mark.parametrize("name", ["bregman", "js_unbiased"])
def test_a_token_that_the_policy_finds_improbable_is_no_infinity(name):
    assert torch.isfinite(sampled_penalty(name, torch.tensor([-900.0]), torch.tensor([0.0]))).all()


def two_models(seed: int, words: int = 7):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(words, generator=generator, dtype=torch.float64).log_softmax(-1) for _ in range(2))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("name", "exact"), [("kl", kl_full), ("bregman", kl_full), ("js_unbiased", js_full)])
def test_unbiased_estimates_have_the_divergence_as_their_mean(seed, name, exact):
    """The mean over all tokens, weighed by the policy's probabilities."""
    policy, other = two_models(seed)
    mean = (policy.exp() * sampled_penalty(name, policy, other)).sum()
    assert mean.item() == pytest.approx(exact(policy, other).item(), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_published_forms_that_are_biased(seed):
    policy, other = two_models(seed)
    p, q = policy.exp().numpy(), other.exp().numpy()
    v0 = (policy.exp() * sampled_penalty("bregman_v0", policy, other)).sum().item()
    chi_square = float(((p - q) ** 2 / q).sum())
    assert v0 == pytest.approx(chi_square - float((p * np.log(p / q)).sum()), rel=1e-9)
    js = (policy.exp() * sampled_penalty("jensen_shannon", policy, other)).sum().item()
    assert js != pytest.approx(js_full(policy, other).item(), rel=1e-3)


def test_full_divergences_by_numpy():
    policy, other = two_models(3)
    p, q = policy.exp().numpy(), other.exp().numpy()
    m = (p + q) / 2
    assert kl_full(policy, other).item() == pytest.approx(float((p * np.log(p / q)).sum()))
    assert js_full(policy, other).item() == pytest.approx(
        float((p * np.log(p / m) + q * np.log(q / m)).sum() / 2)
    )
    assert entropy(policy).item() == pytest.approx(-float((p * np.log(p)).sum()))


def test_an_unknown_penalty_is_named_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'bregman'"):
        sampled_penalty("bregmann", torch.zeros(1), torch.zeros(1))
