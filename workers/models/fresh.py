"""Models made from scratch: a transformers architecture of given sizes with seeded weights."""

from typing import Any

import torch

from workers.models.quantization import DTYPES
from workers.specs.model import ModelRecipe, ModelShape


def fresh_model(recipe: ModelRecipe, shape: ModelShape, tokenizer: Any, seed: int) -> Any:
    """A causal language model with random weights; equal arguments give equal bits."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(
        configuration(shape, tokenizer), attn_implementation=recipe.attention, dtype=DTYPES[recipe.dtype]
    )
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model


def configuration(shape: ModelShape, tokenizer: Any) -> Any:
    """The transformers configuration of a shape, with the tokenizer's vocabulary and special ids."""
    special = {
        "vocab_size": -(-len(tokenizer) // shape.vocabulary_multiple) * shape.vocabulary_multiple,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": shape.tie_embeddings,
        "initializer_range": shape.initializer_range,
    }
    return _gpt2(shape, special) if shape.architecture == "gpt2" else _llama_like(shape, special)


def _llama_like(shape: ModelShape, special: dict[str, Any]) -> Any:
    from transformers import LlamaConfig, MistralConfig

    sizes: dict[str, Any] = {
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "intermediate_size": shape.intermediate_size,
        "max_position_embeddings": shape.context,
    }
    if shape.dropout is not None:
        sizes["attention_dropout"] = shape.dropout
    if shape.architecture == "mistral":
        return MistralConfig(**sizes, **special, sliding_window=shape.sliding_window)
    return LlamaConfig(**sizes, **special)


def _gpt2(shape: ModelShape, special: dict[str, Any]) -> Any:
    from transformers import GPT2Config

    dropout = ("resid_pdrop", "embd_pdrop", "attn_pdrop") if shape.dropout is not None else ()
    return GPT2Config(
        n_embd=shape.hidden_size,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_inner=shape.intermediate_size,
        n_positions=shape.context,
        **dict.fromkeys(dropout, shape.dropout),
        **special,
    )
