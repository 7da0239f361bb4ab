"""A loss without all logits at once: the same numbers, less memory."""

import pytest
import torch
from safetensors.torch import load_file

from orchestrator.cost.memory.device import CPU, GPU
from tests.orchestrator.cost.memory.measured import Case
from tests.support.training import PRETRAIN, pretrain_recipe, short
from workers.recipe import Execution
from workers.specs.model import ModelRecipe, ModelShape
from workers.specs.quantized import QuantizedTraining, Quantizer
from workers.training import chunked
from workers.training.chunked import chunked_log_probs, compute_loss_in_chunks

CHUNKED = Execution(device="cpu", micro_batch=2, chunked_loss=True)
WHOLE = Execution(device="cpu", micro_batch=2)


@pytest.mark.parametrize("ignored", [False, True])
def test_values_and_gradients_are_those_of_whole_logits(ignored, monkeypatch):
    """A vocabulary of several tiles, the last one narrower."""
    monkeypatch.setitem(chunked.WORDS, "cpu", 64)
    torch.manual_seed(0)
    head = torch.nn.Linear(16, 150)
    states = torch.randn(2, 9, 16, requires_grad=True)
    targets = torch.randint(0, 150, (2, 9))
    if ignored:
        targets[0, 5:] = chunked.IGNORED
    weights = torch.randn(2, 9)

    found = chunked_log_probs(head, states, targets)
    plain = -torch.nn.functional.cross_entropy(
        head(states).transpose(1, 2), targets, ignore_index=chunked.IGNORED, reduction="none"
    )
    torch.testing.assert_close(found, plain)
    wanted = torch.autograd.grad((plain * weights).sum(), [states, head.weight, head.bias])
    got = torch.autograd.grad((found * weights).sum(), [states, head.weight, head.bias])
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(
    "settings",
    [{"architecture": "llama"}, {"architecture": "gpt2", "tie_embeddings": True, "dropout": 0.1}],
    ids=["llama", "gpt2 tied"],
)
def test_a_pretraining_in_chunks_ends_where_the_plain_one_does(lab, settings):
    shape = ModelShape(hidden_size=32, layers=2, heads=2, intermediate_size=64, **settings)
    recipe = pretrain_recipe(model=ModelRecipe(shape=shape), training=short(4, validation_steps=4))
    whole = lab.run(PRETRAIN, recipe, execution=WHOLE)
    parts = lab.run(PRETRAIN, recipe, execution=CHUNKED)
    for name in ("loss", "validation_loss", "trained_tokens"):
        assert parts.value(name) == pytest.approx(whole.value(name), rel=1e-5)
    left, right = (load_file(one.output / "model" / "model.safetensors") for one in (parts, whole))
    torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)


def test_a_model_in_chunks_still_gives_logits_when_asked_for_them(lab, base):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base.output / "model")
    ids = torch.tensor([[3, 4, 5, 6]])
    before = model(input_ids=ids, labels=ids)
    compute_loss_in_chunks(model)
    after = model(input_ids=ids, labels=ids)
    torch.testing.assert_close(after.loss, before.loss)
    assert "logits" not in after
    assert torch.equal(model(input_ids=ids).logits, before.logits)


def test_a_quantized_head_keeps_its_own_arithmetic(lab):
    """Its weights alone do not say what it computes, so such an arm has its loss over whole logits."""
    recipe = pretrain_recipe(
        quantization=QuantizedTraining(weights=Quantizer(bits=8), head=True), training=short(2)
    )
    assert not recipe.plain_head
    whole = lab.run(PRETRAIN, recipe, execution=WHOLE)
    assert lab.run(PRETRAIN, recipe, execution=CHUNKED).bytes() == whole.bytes()
    assert pretrain_recipe(quantization=QuantizedTraining(weights=Quantizer(bits=8))).plain_head


def case(chunked_loss: bool) -> Case:
    shape = ModelShape(hidden_size=32, layers=1, heads=2, intermediate_size=64, vocabulary_multiple=32_768)
    return Case("pretrain", shape, micro=4, length=64, padded=False, chunked=chunked_loss, tile=None)


def test_memory_at_a_vocabulary_of_32_thousand_words():
    """Live bytes of a whole step, optimizer included, beside what a plan predicts."""
    whole, parts = case(False), case(True)
    measured, least = parts.measured(), whole.measured()
    print(f"whole logits {least / 1e6:.0f} MB, in chunks {measured / 1e6:.0f} MB")
    assert measured < 0.6 * least
    assert parts.predicted() == pytest.approx(measured, rel=0.15)
    assert whole.predicted() == pytest.approx(least, rel=0.15)


def test_the_memory_model_knows_the_tiles():
    assert {"cpu": CPU.chunk_words, "cuda": GPU.chunk_words} == chunked.WORDS
