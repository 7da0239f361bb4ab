"""Sampling: draws that belong to an episode, the distribution they give, and what a response is."""

import pytest
import torch

from tests.support.training import VICUNA
from tests.workers.ppo.lab import ppo_recipe
from workers.context import StageContext
from workers.models.loading import borrowed_model
from workers.models.sources import parent_source
from workers.ppo.prompts import load_prompts, prompts_of_step
from workers.ppo.sampling import Sampler, draws, inverse_sample
from workers.specs.model import ModelRecipe
from workers.specs.ppo import PPO

TOKENS = 6


@pytest.fixture(scope="module")
def context(lab, base) -> StageContext:
    return lab.context(lab.stage(PPO, ppo_recipe(seed=90), (base,)), (base,))


@pytest.fixture(scope="module")
def model_and_prompts(context, base):
    with borrowed_model(context, parent_source(base), ModelRecipe()) as (model, tokenizer):
        yield model, load_prompts(context, ppo_recipe(), tokenizer)[0], tokenizer


def responses(model, prompts, first: int, ends: frozenset[int] = frozenset(), temperature: float = 1.0):
    sampler = Sampler(model, ends, TOKENS, temperature)
    return sampler.sample(prompts, [draws(7, first + place, TOKENS) for place in range(len(prompts))])


def test_a_response_does_not_depend_on_who_shares_its_batch(model_and_prompts):
    model, prompts, _ = model_and_prompts
    ragged = sorted(prompts, key=len)
    chosen = [*ragged[:3], *ragged[-3:]]
    together = [one.ids for one in responses(model, chosen, 0)]
    alone = [responses(model, [prompt], place)[0].ids for place, prompt in enumerate(chosen)]
    assert together == alone


def test_episodes_have_draws_of_their_own():
    assert torch.equal(draws(0, 5, TOKENS), draws(0, 5, 2 * TOKENS)[:TOKENS])
    assert not torch.equal(draws(0, 5, TOKENS), draws(0, 6, TOKENS))
    assert not torch.equal(draws(0, 5, TOKENS), draws(1, 5, TOKENS))


def test_sampled_tokens_follow_the_distribution():
    known = torch.tensor([0.5, 0.0, 0.3, 0.2]).log()
    uniform = draws(3, 0, 20_000)
    counts = inverse_sample(known.expand(len(uniform), -1), uniform).bincount(minlength=4) / len(uniform)
    assert counts[1] == 0
    assert torch.allclose(counts, torch.tensor([0.5, 0.0, 0.3, 0.2]), atol=0.015)


@pytest.mark.parametrize("uniform", [0.0, 1.0 - 2**-53])
def test_the_ends_of_the_unit_interval_give_tokens_that_can_occur(uniform):
    known = torch.tensor([[0.0, 1.0, 0.0]]).log()
    assert inverse_sample(known, torch.tensor([uniform], dtype=torch.float64)).tolist() == [1]


def test_an_end_mark_ends_a_response_and_is_its_last_token(model_and_prompts):
    model, prompts, _ = model_and_prompts
    free = responses(model, prompts[:8], 0)
    assert all(len(one.ids) == TOKENS and not one.ended for one in free)
    end = free[0].ids[2]
    ended = responses(model, prompts[:8], 0, frozenset([end]))[0]
    first = free[0].ids.index(end) + 1
    assert ended.ended and ended.ids == free[0].ids[:first] and len(ended.log_probabilities) == first


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_those_of_the_model(model_and_prompts, temperature):
    model, prompts, _ = model_and_prompts
    for prompt, one in zip(
        prompts[:3], responses(model, prompts[:3], 0, temperature=temperature), strict=True
    ):
        ids = torch.tensor([[*prompt, *one.ids]])
        with torch.no_grad():
            known = (model(input_ids=ids).logits[0].float() / temperature).log_softmax(-1)
        expected = [known[len(prompt) - 1 + place, token].item() for place, token in enumerate(one.ids)]
        assert one.log_probabilities == pytest.approx(expected, abs=1e-4)


def test_prompts_are_distinct_and_end_where_the_answer_begins(model_and_prompts):
    _, prompts, tokenizer = model_and_prompts
    assert len(set(prompts)) == len(prompts)
    assert all(tokenizer.decode(list(prompt)).rstrip().endswith("ASSISTANT:") for prompt in prompts)
    assert VICUNA.turn.endswith("</s>")


def test_every_pass_takes_every_prompt_once_in_another_order():
    prompts = [(number,) for number in range(10)]
    taken = [prompt for step in range(5) for prompt in prompts_of_step(prompts, step, 4, seed=1)]
    assert sorted(taken[:10]) == prompts == sorted(taken[10:])
    assert taken[:10] != taken[10:]
    assert prompts_of_step(prompts, 3, 4, seed=1) == taken[12:16]
    assert prompts_of_step(prompts, 0, 4, seed=2) != taken[:4]


def test_long_and_repeated_prompts_are_left_out_and_counted(context, model_and_prompts):
    _, prompts, tokenizer = model_and_prompts
    rollout = ppo_recipe().rollout.model_copy(update={"prompt_tokens": max(map(len, prompts)) - 1})
    kept, account = load_prompts(context, ppo_recipe(rollout=rollout), tokenizer)
    assert kept == [prompt for prompt in prompts if len(prompt) <= rollout.prompt_tokens]
    assert account.dropped["too long"] == len(prompts) - len(kept) > 0
