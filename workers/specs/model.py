"""Where a model comes from, and what is put on it."""

from typing import Literal

from pydantic import Field

from workers.recipe import Settings

Dtype = Literal["float32", "bfloat16", "float16"]
LLAMA_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class ModelShape(Settings):
    """A model made from scratch: the architecture of transformers and its sizes.

    `vocabulary_multiple` rounds the vocabulary up; `dropout` replaces every dropout rate of the architecture.
    """

    architecture: Literal["llama", "mistral", "gpt2"] = "llama"
    hidden_size: int = Field(default=64, ge=1)
    layers: int = Field(default=3, ge=1)
    heads: int = Field(default=4, ge=1)
    key_value_heads: int = Field(default=2, ge=1)
    intermediate_size: int = Field(default=160, ge=1)
    context: int = Field(default=256, ge=8)
    sliding_window: int | None = None
    tie_embeddings: bool = False
    initializer_range: float = Field(default=0.02, gt=0)
    vocabulary_multiple: int = Field(default=1, ge=1)
    dropout: float | None = Field(default=None, ge=0, lt=1)


class ModelRecipe(Settings):
    """The model that a stage starts from when no parent in role `base` provides it.

    `hub` is a hub id or a local directory; `revision` and `digest` are resolved when a plan is made, so that a
    moved branch or another directory cannot pass for the same model. `shape` makes a fresh model instead.
    """

    hub: str | None = None
    revision: str | None = None
    digest: str | None = None
    shape: ModelShape | None = None
    dtype: Dtype = "float32"
    attention: Literal["eager", "sdpa", "flash_attention_2"] = "sdpa"


class QuantizationRecipe(Settings):
    """Storage of the frozen base of QLoRA (Dettmers et al., arXiv 2305.14314): bitsandbytes' terms."""

    format: Literal["nf4", "fp4", "int8"] = "nf4"
    double_quantization: bool = False
    compute_dtype: Dtype = "bfloat16"


class LoraRecipe(Settings):
    """A LoRA adapter, `y = W x + (alpha / rank) B A dropout(x)`; `quantization` stores W in fewer bits (QLoRA)."""

    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    target_modules: tuple[str, ...] = LLAMA_PROJECTIONS
    quantization: QuantizationRecipe | None = None
