"""Four models on two backbones against four models of their own, in bytes of live tensors."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.support.live_bytes import LiveBytes
from tests.support.training import Lab
from tests.workers.ppo.lab import curves, ppo_recipe, random_parents
from workers.context import Parent
from workers.ppo.backbones import Models, borrowed_models
from workers.ppo.loop import Loop
from workers.ppo.prompts import load_prompts
from workers.recipe import Execution
from workers.specs.ppo import PPO

SHAPE = {
    "hidden_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 384,
    "vocab_size": 512,
}
ONE = Execution(device="cpu", micro_batch=1)
STATIC, PEAK = 0.55, 0.7


@pytest.fixture(scope="module")
def parents(base: Parent, reward: Parent, tmp_path_factory: pytest.TempPathFactory) -> tuple[Parent, Parent]:
    return random_parents(base, reward, tmp_path_factory.mktemp("random"), SHAPE)


@contextmanager
def loop(lab: Lab, parents: tuple[Parent, Parent], separate: bool, **others: Any) -> Iterator[Loop]:
    """A run before its first step; `separate` gives reference and reward models of their own."""
    recipe = ppo_recipe(**others)
    context = lab.context(lab.stage(PPO, recipe, parents), parents, execution=ONE, memory={})
    with borrowed_models(context, recipe) as models:
        models.evaluate()
        prompts, _ = load_prompts(context, recipe, models.tokenizer)
        held = models if not separate else apart(models)
        yield Loop(context, recipe, held, prompts, end_mark=False)


def apart(models: Models) -> Models:
    """Reference and reward with weights of their own."""
    return replace(models, separate_reference=dense(models.policy), separate_reward=dense(models.value))


def dense(adapted: Any) -> Any:
    """A copy, with weights of its own, of the model under an adapter."""
    return copy.deepcopy(adapted).unload()


def static(models: Models) -> int:
    """Bytes of every weight and buffer of all models, each storage once."""
    held = (models.policy, models.value, models.head, models.separate_reference, models.separate_reward)
    storages = {
        tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes()
        for model in held
        if model is not None
        for tensor in (*model.parameters(), *model.buffers())
    }
    return sum(storages.values())


def measured(lab: Lab, parents: tuple[Parent, Parent], separate: bool, **others: Any) -> tuple[int, int]:
    """Bytes of the models, and the most that lived in a PPO step."""
    with loop(lab, parents, separate, **others) as run:
        models = static(run.models)
        with LiveBytes() as live:
            before = live.now
            run._step()
        return models, models + live.peak - before


@pytest.fixture(scope="module")
def four(lab: Lab, parents: tuple[Parent, Parent]) -> tuple[int, int]:
    return measured(lab, parents, True)


@pytest.mark.parametrize("backbone", ["reward", "policy"])
def test_two_backbones_take_little_more_than_half(
    lab: Lab, parents: tuple[Parent, Parent], four: tuple[int, int], backbone: str
) -> None:
    static_shared, peak_shared = measured(lab, parents, False, value_backbone=backbone)
    static_four, peak_four = four
    print(f"\nstatic {static_shared / static_four:.3f}, peak {peak_shared / peak_four:.3f} of four models")
    assert static_shared <= STATIC * static_four
    assert peak_shared <= PEAK * peak_four
    assert peak_shared > static_shared and peak_four > static_four


def test_four_models_of_their_own_give_the_same_figures(lab: Lab, parents: tuple[Parent, Parent]) -> None:
    rows = []
    for separate in (False, True):
        with loop(lab, parents, separate) as run:
            run._step()
            rows.append(run.state.curves)
    assert rows[0] == rows[1]


def test_the_value_on_the_policys_backbone(lab: Lab, base: Parent, reward: Parent) -> None:
    """The same rollouts and scores at the start; the value learns on weights that nobody changes."""
    shared = lab.run(PPO, ppo_recipe(value_backbone="policy"), (base, reward), memory={})
    other = lab.run(PPO, ppo_recipe(), (base, reward), memory={})
    found, expected = curves(shared), curves(other)
    assert found["score"][0] == expected["score"][0]
    assert found["true_kl"][0] == 0.0 and max(found["rollout_gap"]) < 1e-5
    assert found["value_loss"] != expected["value_loss"]
    value = load_file(shared.output / "value.safetensors")
    assert set(value) == set(load_file(other.output / "value.safetensors"))
    assert any(bool(tensor.any()) for name, tensor in value.items() if "lora_B" in name)


def test_adapters_on_one_backbone_do_not_meet(lab: Lab, parents: tuple[Parent, Parent]) -> None:
    with loop(lab, parents, False, value_backbone="policy") as run:
        policy, value = run.models.policy, run.models.value
        ids = torch.tensor([[1, 5, 9]])
        with torch.no_grad():
            before = policy(input_ids=ids).logits
            for name, parameter in value.named_parameters():
                if "lora_B" in name:
                    parameter.fill_(1.0)
            assert torch.equal(policy(input_ids=ids).logits, before)
        weights = [dict(one.get_base_model().named_parameters()) for one in (policy, value)]
        name = "model.embed_tokens.weight"
        assert weights[0][name] is weights[1][name]
