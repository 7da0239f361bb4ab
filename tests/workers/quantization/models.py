"""Very small models of both families of linear layers."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

VOCABULARY = 48
ARCHITECTURES = ("gpt2", "llama")


def model_of(architecture: str, *, tied: bool = True, seed: int = 0) -> Any:
    """A model in training mode without dropout."""
    torch.manual_seed(seed)
    shared = {"vocab_size": VOCABULARY, "tie_word_embeddings": tied, "initializer_range": 0.2}
    configuration = (
        GPT2Config(
            n_embd=16,
            n_layer=2,
            n_head=2,
            n_positions=32,
            resid_pdrop=0,
            embd_pdrop=0,
            attn_pdrop=0,
            **shared,
        )
        if architecture == "gpt2"
        else LlamaConfig(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=24,
            max_position_embeddings=32,
            **shared,
        )
    )
    return AutoModelForCausalLM.from_config(configuration)


def tokens(seed: int = 0, rows: int = 3, length: int = 9) -> torch.Tensor:
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))
