"""Figures of a rollout against whole forward passes of transformers, and the backbones they share."""

from dataclasses import replace

import pytest
import torch

from tests.workers.ppo.lab import ppo_recipe
from workers.ppo.backbones import borrowed_models
from workers.ppo.episodes import Episode, make_batch
from workers.ppo.measures import Scoring, measure, texts
from workers.specs.ppo import PPO

PLAIN = Scoring(temperature=1.0, end_mark=False, as_text=False, padding=False, divergence=True)


@pytest.fixture(scope="module")
def models(lab, base, reward):
    recipe = ppo_recipe(seed=91)
    context = lab.context(lab.stage(PPO, recipe, (base, reward)), (base, reward), memory={})
    with borrowed_models(context, recipe) as found:
        found.evaluate()
        with torch.no_grad():
            for name, parameter in found.trained().items():
                if "lora_B" in name or name.startswith("head"):
                    parameter.normal_(0.0, 0.05)
        yield found


EPISODES = [
    Episode((1, 5, 40, 41, 6), (50, 51, 2), (0.0, 0.0, 0.0), True),
    Episode((1, 5, 44, 6), (60, 61, 62, 63, 64), (0.0,) * 5, False),
    Episode((1, 6), (2,), (0.0,), True),
]


def batch():
    return make_batch(EPISODES, pad=3, device="cpu")


def logits(model, one: Episode) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([[*one.prompt, *one.response]])).logits[0].float()


def test_log_probabilities_divergence_and_entropy(models):
    found = measure(models, batch(), EPISODES, PLAIN)
    for row, one in enumerate(EPISODES):
        before = len(one.prompt) - 1
        policy = logits(models.policy, one).log_softmax(-1)[before:-1]
        with models.reference() as model:
            other = logits(model, one).log_softmax(-1)[before:-1]
        length = len(one.response)
        chosen = torch.tensor(one.response)[:, None]
        assert torch.allclose(found["policy"][row, :length], policy.gather(1, chosen)[:, 0], atol=1e-5)
        assert torch.allclose(found["reference"][row, :length], other.gather(1, chosen)[:, 0], atol=1e-5)
        kl = (policy.exp() * (policy - other)).sum(-1)
        assert torch.allclose(found["true_kl"][row, :length], kl, atol=1e-5)
        assert (kl > 1e-6).all()
        for name in ("policy", "reference", "true_kl", "entropy", "js"):
            assert (found[name][row, length:] == 0).all()


def test_without_distributions_the_drawn_tokens_are_taken_and_the_rest_is_the_same(models):
    drawn = [
        replace(one, drawn=tuple(-0.5 - place for place in range(len(one.response)))) for one in EPISODES
    ]
    whole = measure(models, batch(), drawn, PLAIN)
    found = measure(models, batch(), drawn, replace(PLAIN, whole=False))
    assert set(found) == {"policy", "reference", "values", "scores"}
    assert found["policy"][0].tolist() == [-0.5, -1.5, -2.5, 0.0, 0.0]
    for name in ("reference", "values", "scores"):
        assert torch.equal(found[name], whole[name])


def test_values_depend_on_the_prefix_alone(models):
    found = measure(models, batch(), EPISODES, PLAIN)["values"]
    other = [Episode(EPISODES[0].prompt, (50, 99, 98, 97), (0.0,) * 4, False), *EPISODES[1:]]
    changed = measure(models, make_batch(other, 3, "cpu"), other, PLAIN)["values"]
    assert torch.allclose(found[0, :2], changed[0, :2], atol=1e-6)
    assert not torch.allclose(found[0, 2], changed[0, 2], atol=1e-6)


@pytest.mark.parametrize("end_mark", [False, True])
def test_scores_are_those_of_the_reward_model_at_the_last_token(models, end_mark):
    how = Scoring(1.0, end_mark, False, False, False)
    found = measure(models, batch(), EPISODES, how)["scores"]
    for value, one in zip(found.tolist(), EPISODES, strict=True):
        seen = one.response if end_mark or not one.ended else one.response[:-1]
        with torch.no_grad(), models.reward() as model:
            ids = torch.tensor([[*one.prompt, *seen]])
            expected = model.get_base_model()(input_ids=ids).logits.item()
        assert value == pytest.approx(expected, abs=1e-5)


def test_the_published_score_reads_decoded_text(models):
    how = Scoring(1.0, False, True, False, False)
    found = measure(models, batch(), EPISODES, how)["scores"]
    assert "</s>" not in "".join(texts(models.tokenizer, EPISODES))
    tokens = measure(models, batch(), EPISODES, PLAIN)["scores"]
    assert torch.allclose(found, tokens, atol=1e-5), "the embedded tokenizer is lossless"


def test_the_adapter_is_on_again_after_the_reference(models):
    before = logits(models.policy, EPISODES[0])
    with models.reference() as model:
        off = logits(model, EPISODES[0])
    assert torch.equal(before, logits(models.policy, EPISODES[0]))
    assert not torch.equal(before, off)


def test_four_models_are_two_backbones(models):
    with models.reference() as reference, models.reward() as reward:
        assert reference is models.policy and reward is models.value
    frozen = [value for model in (models.policy, models.value) for value in model.parameters()]
    trained = models.trained()
    assert all(value.dtype == torch.float32 for value in trained.values())
    assert sum(value.numel() for value in trained.values()) < sum(value.numel() for value in frozen) / 5
    assert {name.partition(".")[0] for name in trained} == {"policy", "value", "head"}


def test_static_memory_is_that_of_two_models(models):
    """Weights of all four roles, adapters and head included, against four models of their own."""
    held = {
        value.data_ptr(): value.numel() * value.element_size()
        for module in (models.policy, models.value, models.head)
        for value in module.parameters()
    }
    trained = sum(value.numel() * value.element_size() for value in models.trained().values())
    backbones = [
        sum(
            value.numel() * value.element_size()
            for name, value in model.named_parameters()
            if "lora_" not in name
        )
        for model in (models.policy, models.value)
    ]
    assert sum(held.values()) == sum(backbones) + trained
    assert sum(held.values()) <= 0.55 * 2 * sum(backbones)
