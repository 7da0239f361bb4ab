"""Storage of a frozen base in 4 or 8 bits, in bitsandbytes' terms (Dettmers et al., arXiv 2305.14314)."""

import logging
from typing import Any

import torch
from torch import nn

from workers.specs.model import QuantizationRecipe

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def bits_and_bytes(recipe: QuantizationRecipe | None) -> Any | None:
    """The `BitsAndBytesConfig` of a recipe; None for None."""
    if recipe is None:
        return None
    from transformers import BitsAndBytesConfig

    # It says for every product of every step that inputs are cast.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if recipe.format == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=recipe.format,
        bnb_4bit_use_double_quant=recipe.double_quantization,
        bnb_4bit_compute_dtype=DTYPES[recipe.compute_dtype],
    )


def keep_storage(model: nn.Module) -> None:
    """Forbid bitsandbytes to repack 4-bit weights on the first forward pass in evaluation mode.

    On processors with AVX512-BF16 it would round the scales to bf16 in place, so that a base would have other
    values after an evaluation than before, and it fails for widths that are no multiple of the block size.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010


def precision_name(dtype: str, recipe: QuantizationRecipe | None) -> str:
    """A short name of how a base is stored and computed: `float32`, `nf4-double-bfloat16+float32`."""
    if recipe is None:
        return dtype
    double = "-double" if recipe.double_quantization else ""
    return f"{recipe.format}{double}-{recipe.compute_dtype}+{dtype}"
