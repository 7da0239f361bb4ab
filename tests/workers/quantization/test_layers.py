"""Quantizers on whole models: put on by one call, taken off without a trace."""

import copy

import numpy as np
import pytest
import torch
from transformers.trainer_pt_utils import get_parameter_names

from tests.workers.quantization import reference
from tests.workers.quantization.models import ARCHITECTURES, model_of, tokens
from workers.quantization.layers import (
    linear_layers,
    put_quantizers,
    take_off_quantizers,
    transposed,
    untie_head,
    without_quantizers,
)
from workers.quantization.rounding import Dice
from workers.specs.quantized import GradientQuantizer, QuantizedTraining, Quantizer
from workers.training.trainers import save_full_model

W4 = QuantizedTraining(weights=Quantizer(bits=4))
W8A8G8 = QuantizedTraining(weights=Quantizer(), activations=Quantizer(), gradients=GradientQuantizer())


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=tokens()).logits


def gradients(model) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model(input_ids=tokens(), labels=tokens()).loss.backward()
    return {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}


def rounded_by_hand(model, head: bool) -> None:
    """Every linear weight replaced by NumPy's Q(W), per output channel."""
    for module in linear_layers(model, head=head).values():
        weight = module.weight.detach().numpy()
        turned = weight.T if transposed(module) else weight
        values = reference.quantize(turned, 4, "row")[0]
        module.weight = torch.nn.Parameter(
            torch.from_numpy((values.T if transposed(module) else values).copy())
        )


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_model_computes_with_its_rounded_weights(architecture: str, head: bool) -> None:
    """Row means output channel on `Linear` and on GPT-2's transposed `Conv1D`; a tied embedding stays exact."""
    model, expected = model_of(architecture), model_of(architecture)
    rounded_by_hand(expected, head)
    names = put_quantizers(model, W4.model_copy(update={"head": head}), Dice(0))
    assert ("lm_head" in names) is head
    torch.testing.assert_close(logits(model), logits(expected), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(logits(model), logits(model_of(architecture)), atol=1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_taken_off_the_model_is_bit_identical(architecture: str) -> None:
    model = model_of(architecture)
    before, out, kept = copy.deepcopy(model.state_dict()), logits(model), dict(model.named_parameters())
    types = {name: type(module) for name, module in model.named_modules()}
    put_quantizers(model, W8A8G8, Dice(0))
    gradients(model)
    take_off_quantizers(model)
    assert {name: type(module) for name, module in model.named_modules()} == types
    assert not any(hasattr(module, "scheme") for module in model.modules())
    assert all(kept[name] is each for name, each in model.named_parameters())
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    assert torch.equal(logits(model), out)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_ties_counts_and_weight_decay_groups_do_not_move(architecture: str) -> None:
    model = model_of(architecture)
    count, decayed = model.num_parameters(), get_parameter_names(model, [torch.nn.LayerNorm], ["bias"])
    put_quantizers(model, W8A8G8.model_copy(update={"head": True}), Dice(0))
    model.to("cpu")
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert model.num_parameters() == count
    assert get_parameter_names(model, [torch.nn.LayerNorm], ["bias"]) == decayed


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_linear_layer_but_the_head(architecture: str) -> None:
    names = put_quantizers(model_of(architecture), W8A8G8, Dice(0))
    assert len(names) == {"gpt2": 2 * 4, "llama": 2 * 7}[architecture]
    assert "lm_head" not in names


def test_off_for_a_while() -> None:
    model = model_of("gpt2")
    plain = logits(model)
    put_quantizers(model, W4, Dice(0))
    quantized = logits(model)
    with without_quantizers(model):
        assert torch.equal(logits(model), plain)
    assert torch.equal(logits(model), quantized)


def test_nothing_twice_and_nothing_for_nothing() -> None:
    model = model_of("llama")
    assert put_quantizers(model, QuantizedTraining(), Dice(0)) == []
    put_quantizers(model, W4, Dice(0))
    with pytest.raises(ValueError, match="already"):
        put_quantizers(model, W4, Dice(0))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_broken_tie_is_a_copy_trained_apart(architecture: str) -> None:
    model = model_of(architecture)
    count, out = model.num_parameters(), logits(model)
    untie_head(model)
    assert torch.equal(logits(model), out)
    assert model.num_parameters() == count + model.get_output_embeddings().weight.numel()
    assert not model.config.tie_word_embeddings
    found = gradients(model)
    assert not torch.equal(found["lm_head.weight"], found[next(iter(found))])
    with pytest.raises(ValueError, match="not tied"):
        untie_head(model)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("tied", [True, False])
def test_equal_weights_give_equal_bytes_and_come_back(architecture: str, tied: bool, tmp_path) -> None:
    """Eight times, since an order that is drawn anew may fall alike."""
    model = model_of(architecture, tied=tied)
    written = set()
    for _ in range(8):
        save_full_model(model, tmp_path)
        written.add((tmp_path / "model.safetensors").read_bytes())
    assert len(written) == 1
    loaded = type(model).from_pretrained(tmp_path)
    assert torch.equal(logits(loaded.train()), logits(model))
    assert (loaded.lm_head.weight is loaded.get_input_embeddings().weight) is tied


def test_an_untied_model_survives_saving(tmp_path) -> None:
    model = model_of("gpt2")
    untie_head(model)
    with torch.no_grad():
        model.lm_head.weight.add_(1.0)
    save_full_model(model, tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    assert torch.equal(logits(loaded.train()), logits(model))


def test_only_a_fused_projection_is_split() -> None:
    split = QuantizedTraining(gradients=GradientQuantizer(split_projection=True))
    model = model_of("gpt2")
    put_quantizers(model, split, Dice(0))
    parts = {name: module.scheme.parts for name, module in model.named_modules() if hasattr(module, "scheme")}
    assert {name.rpartition(".")[2] for name, count in parts.items() if count == 3} == {"c_attn"}


def test_gradients_of_a_whole_model_are_near_those_without_quantizers() -> None:
    model = model_of("llama")
    plain = gradients(model)
    put_quantizers(model, W8A8G8, Dice(0))
    for name, found in gradients(model).items():
        cosine = torch.cosine_similarity(found.ravel(), plain[name].ravel(), dim=0)
        assert float(cosine) > 0.98, name
        assert not np.array_equal(found, plain[name]) or "lm_head" in name
