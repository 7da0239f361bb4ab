"""Adapters start equal on every base, train in fp32, and are written with equal bytes."""

import json

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from tests.support.training import NF4, WORLD, Lab, base_of, lora
from workers.models.adapters import (
    attach_adapter,
    load_adapter_tensors,
    lora_config,
    save_adapter,
    start_adapter,
    trainable_in_fp32,
)
from workers.models.fresh import configuration, fresh_model
from workers.models.loading import borrowed_base, load_model, read_tokenizer
from workers.models.pristine import Pristine
from workers.models.quantization import bits_and_bytes, precision_name
from workers.models.sources import parent_source
from workers.specs.model import ModelRecipe, ModelShape, QuantizationRecipe
from workers.world import world_directory


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def base(lab: Lab):
    return base_of(lab)


@pytest.fixture(scope="module")
def tokenizer(lab: Lab):
    return read_tokenizer(world_directory(lab.workspace.cache, WORLD.world) / "tokenizer")


def model_of(base, quantization=None, dtype: str = "float32"):
    return load_model(parent_source(base), ModelRecipe(dtype=dtype), quantization, "cpu")


def factors(model) -> dict[str, torch.Tensor]:
    return {name: each.detach().clone() for name, each in model.named_parameters() if "lora_" in name}


def adapted(base, seed: int = 5, quantization=None, dtype: str = "float32"):
    model = get_peft_model(model_of(base, quantization, dtype), lora_config(lora(quantization)))
    start_adapter(model, seed)
    return model


@pytest.mark.parametrize(("quantization", "dtype"), [(NF4, "float32"), (None, "bfloat16"), (NF4, "bfloat16")])
def test_every_base_gets_the_same_start(base, quantization, dtype):
    plain, other = factors(adapted(base)), factors(adapted(base, quantization=quantization, dtype=dtype))
    assert plain.keys() == other.keys()
    assert all(torch.equal(plain[name], other[name]) for name in plain)
    assert {each.dtype for each in other.values()} == {torch.float32}


def test_the_start_is_drawn_like_pefts(base):
    """Kaiming-uniform with a = sqrt(5): uniform within 1 / sqrt(inputs); every B zero."""
    drawn = factors(adapted(base))
    for name, each in drawn.items():
        if "lora_B" in name:
            assert not each.any()
        else:
            bound = 1 / each.shape[1] ** 0.5
            assert each.abs().max() <= bound
            assert each.std().item() == pytest.approx(bound / 3**0.5, rel=0.25)


def test_another_seed_is_another_start(base):
    first, second = factors(adapted(base, 1)), factors(adapted(base, 2))
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_the_start_does_not_depend_on_the_global_stream(base):
    torch.manual_seed(1)
    first = factors(adapted(base))
    torch.rand(100)
    second = factors(adapted(base))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_only_trainable_parameters_become_fp32(base):
    model = adapted(base, dtype="bfloat16")
    trainable_in_fp32(model)
    assert {each.dtype for each in model.parameters() if each.requires_grad} == {torch.float32}
    assert {each.dtype for each in model.parameters() if not each.requires_grad} == {torch.bfloat16}


def test_an_adapter_is_written_with_equal_bytes_and_read_back(base, tmp_path):
    model = adapted(base)
    for name in ("one", "two"):
        save_adapter(model, tmp_path / name, "org/base")
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")
    )
    assert first == second
    assert sorted(first) == ["adapter_config.json", "adapter_model.safetensors"]
    assert json.loads(first["adapter_config.json"])["target_modules"] == ["q_proj", "v_proj"]
    read = load_adapter_tensors(tmp_path / "one")
    kept = {name.replace(".default", ""): each for name, each in factors(model).items()}
    assert read.keys() == kept.keys()
    assert all(torch.equal(read[name], kept[name]) for name in read)


def test_an_attached_adapter_is_frozen_and_in_evaluation_mode(base, tmp_path):
    save_adapter(adapted(base), tmp_path, "org/base")
    model = attach_adapter(model_of(base), tmp_path)
    assert isinstance(model, PeftModel)
    assert not model.training
    assert not any(each.requires_grad for each in model.parameters())


def test_pristine_undoes_whatever_is_done_to_a_model(base):
    model = model_of(base)
    names = [name for name, _ in model.named_modules()]
    keys = {name: set(module.__dict__) for name, module in model.named_modules()}
    config = model.config.to_dict()
    pristine = Pristine(model)
    wrapped = get_peft_model(model, lora_config(lora()))
    wrapped.train()
    model.forward = lambda **inputs: None
    model.lm_head.register_forward_hook(lambda *others: None)
    model.config.pad_token_id = 77
    model.config.use_cache = False
    model.generation_config.max_new_tokens = 3
    model.lm_head.weight.requires_grad_(True)
    model.lm_head.weight.grad = torch.ones_like(model.lm_head.weight)
    model.model.register_buffer("extra", torch.ones(1))
    pristine.restore()
    assert [name for name, _ in model.named_modules()] == names
    assert {name: set(module.__dict__) for name, module in model.named_modules()} == keys
    assert model.config.to_dict() == config
    assert model.generation_config.max_new_tokens != 3
    assert not model.lm_head.weight.requires_grad
    assert model.lm_head.weight.grad is None
    assert not model.lm_head._forward_hooks
    assert not model.training


def test_pristine_restores_as_often_as_asked(base):
    model = model_of(base)
    pristine = Pristine(model)
    for _ in range(3):
        get_peft_model(model, lora_config(lora())).train()
        pristine.restore()
        assert "lora_A" not in str(model)
        assert not model.training


def test_four_bit_weights_keep_their_values_through_evaluation(lab: Lab, base):
    """bitsandbytes would repack them, with rounded scales, on the first forward pass in evaluation mode."""
    context = lab.context(lab.stage(*_any_stage()), ())
    ids = torch.tensor([[1, 4, 5]])
    with borrowed_base(context, parent_source(base), ModelRecipe(), NF4) as model, torch.no_grad():
        weight = model.model.layers[0].self_attn.q_proj.weight
        before = (weight.data.clone(), weight.quant_state.absmax.clone())
        first = model(input_ids=ids).logits
        assert torch.equal(weight.data, before[0])
        assert torch.equal(weight.quant_state.absmax, before[1])
        assert torch.equal(model(input_ids=ids).logits, first)


def _any_stage():
    from tests.support.training import SFT, sft_recipe

    return SFT, sft_recipe()


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        (None, "bfloat16"),
        (QuantizationRecipe(), "nf4-bfloat16+bfloat16"),
        (QuantizationRecipe(double_quantization=True), "nf4-double-bfloat16+bfloat16"),
        (QuantizationRecipe(format="int8", compute_dtype="float32"), "int8-float32+bfloat16"),
    ],
)
def test_precisions_have_names_of_their_own(recipe, name):
    assert precision_name("bfloat16", recipe) == name


def test_quantization_in_bitsandbytes_terms():
    settings = bits_and_bytes(
        QuantizationRecipe(format="fp4", double_quantization=True, compute_dtype="float16")
    )
    assert settings.load_in_4bit
    assert settings.bnb_4bit_quant_type == "fp4"
    assert settings.bnb_4bit_use_double_quant
    assert settings.bnb_4bit_compute_dtype == torch.float16
    assert bits_and_bytes(QuantizationRecipe(format="int8")).load_in_8bit
    assert bits_and_bytes(None) is None


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gpt2"])
def test_fresh_models_have_their_shape_and_seed(tokenizer, architecture):
    shape = ModelShape(architecture=architecture, hidden_size=16, layers=2, heads=2, key_value_heads=1)
    models = [fresh_model(ModelRecipe(), shape, tokenizer, seed) for seed in (1, 1, 2)]
    states = [model.state_dict() for model in models]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])
    assert models[0].config.vocab_size == len(tokenizer)
    assert models[0].config.num_hidden_layers == 2
    assert models[0].config.eos_token_id == tokenizer.eos_token_id


def test_tied_embeddings_and_sliding_windows(tokenizer):
    shape = ModelShape(architecture="mistral", sliding_window=8, tie_embeddings=True)
    settings = configuration(shape, tokenizer)
    assert settings.sliding_window == 8
    model = fresh_model(ModelRecipe(), shape, tokenizer, 0)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_a_tied_model_is_written_and_read_back(lab: Lab, tmp_path, tokenizer):
    from workers.training.trainers import save_full_model

    model = fresh_model(ModelRecipe(), ModelShape(tie_embeddings=True), tokenizer, 0)
    save_full_model(model, tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)
    assert again.lm_head.weight is again.model.embed_tokens.weight
