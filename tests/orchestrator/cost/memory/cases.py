"""Configurations whose memory is measured: those that were looked at while the model was written, and others."""

from typing import Any

from tests.orchestrator.cost.memory.measured import Case
from workers.specs.model import LLAMA_PROJECTIONS, LoraRecipe, ModelShape, QuantizationRecipe
from workers.specs.quantized import QuantizedTraining

SIZES = {"hidden_size": 128, "layers": 4, "heads": 8, "vocabulary_multiple": 256}
LLAMA = ModelShape.model_validate({**SIZES, "key_value_heads": 4, "intermediate_size": 344})
GPT2 = ModelShape.model_validate(
    {**SIZES, "architecture": "gpt2", "intermediate_size": 512, "tie_embeddings": True}
)
MISTRAL = ModelShape(
    architecture="mistral",
    hidden_size=256,
    layers=3,
    heads=8,
    key_value_heads=2,
    intermediate_size=768,
    sliding_window=64,
    vocabulary_multiple=1024,
)
NARROW = ModelShape(
    hidden_size=64, layers=8, heads=4, key_value_heads=4, intermediate_size=256, vocabulary_multiple=2048
)
PLAIN_GPT2 = ModelShape(
    architecture="gpt2",
    hidden_size=192,
    layers=5,
    heads=6,
    intermediate_size=768,
    dropout=0.0,
    vocabulary_multiple=512,
)
WIDE = ModelShape(
    hidden_size=192,
    layers=6,
    heads=6,
    key_value_heads=2,
    intermediate_size=512,
    vocabulary_multiple=768,
)
TIED = ModelShape(
    hidden_size=96,
    layers=5,
    heads=4,
    key_value_heads=1,
    intermediate_size=224,
    tie_embeddings=True,
    vocabulary_multiple=1536,
)
SMALL_GPT2 = ModelShape(
    architecture="gpt2",
    hidden_size=160,
    layers=6,
    heads=5,
    intermediate_size=640,
    dropout=0.0,
    vocabulary_multiple=300,
)
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MIXED: dict[str, Any] = {"dtype": "bfloat16", "autocast": "bfloat16"}


def lora(
    modules: tuple[str, ...] = LLAMA_PROJECTIONS,
    rank: int = 4,
    dropout: float = 0.1,
    storage: QuantizationRecipe | None = None,
) -> LoraRecipe:
    """An adapter, on all projections unless others are named."""
    return LoraRecipe(rank=rank, alpha=8, dropout=dropout, target_modules=modules, quantization=storage)


NF4 = QuantizationRecipe(compute_dtype="bfloat16")
DOUBLE = QuantizationRecipe(compute_dtype="bfloat16", double_quantization=True)


def rounding(**others: Any) -> tuple[tuple[str, Any], ...]:
    """Quantized pre-training: weights, activations and gradients, unless others say otherwise."""
    bits = {"weights": {"bits": 4}, "activations": {"bits": 8}, "gradients": {"bits": 8}}
    return (("quantization", QuantizedTraining.model_validate(bits | others)),)


READ_OFF = {
    "pretrain llama": Case("pretrain", LLAMA),
    "pretrain gpt2 with dropout": Case("pretrain", GPT2),
    "pretrain gpt2 autocast": Case("pretrain", GPT2, autocast="bfloat16"),
    "sft whole": Case("sft", LLAMA, autocast="bfloat16"),
    "sft eager": Case("sft", LLAMA, attention="eager"),
    "sft qlora checkpointing": Case(
        "sft", LLAMA, checkpointing=True, adapter=lora(storage=NF4), dtype="bfloat16", autocast="bfloat16"
    ),
    "dpo lora": Case("dpo", LLAMA, adapter=lora()),
    "dpo lora q v checkpointing": Case("dpo", LLAMA, checkpointing=True, adapter=lora(("q_proj", "v_proj"))),
    "reward": Case("reward", LLAMA),
    "reference": Case("reference", LLAMA),
    "generate": Case("generate", LLAMA, micro=8),
    "evaluate": Case("evaluate", LLAMA, micro=8),
    "ppo": Case("ppo", LLAMA, micro=4, batch=8, adapter=lora(("q_proj", "v_proj"))),
    "sft mistral double quantization": Case(
        "sft",
        MISTRAL,
        micro=2,
        length=192,
        adapter=lora(rank=16, storage=DOUBLE),
        dtype="bfloat16",
        autocast="bfloat16",
    ),
    "sft narrow in parts": Case("sft", NARROW, micro=2, batch=8, length=96, optimizer="adamw_bnb_8bit"),
    "dpo mistral checkpointing": Case(
        "dpo",
        MISTRAL,
        micro=3,
        length=160,
        checkpointing=True,
        adapter=lora(storage=NF4),
        dtype="bfloat16",
        autocast="bfloat16",
    ),
    "dpo narrow without dropout": Case("dpo", NARROW, micro=2, length=224, adapter=lora(dropout=0.0)),
    "pretrain gpt2 without dropout": Case("pretrain", PLAIN_GPT2, micro=2, length=200, checkpointing=True),
    "pretrain mistral autocast": Case("pretrain", MISTRAL, micro=6, length=64, autocast="bfloat16"),
    "pretrain narrow eager": Case(
        "pretrain", NARROW, micro=2, length=256, attention="eager", checkpointing=True
    ),
    "reward mistral lora": Case(
        "reward", MISTRAL, micro=2, length=128, adapter=lora(rank=8), dtype="bfloat16", autocast="bfloat16"
    ),
    "reference narrow": Case("reference", NARROW, micro=6, length=200, tile=None),
    "generate mistral": Case("generate", MISTRAL, micro=12, length=160, new_tokens=96),
    "ppo mistral checkpointing": Case(
        "ppo",
        MISTRAL,
        micro=2,
        batch=4,
        length=112,
        new_tokens=64,
        checkpointing=True,
        adapter=lora(dropout=0.0),
    ),
    "pretrain llama rounded operands": Case(
        "pretrain", LLAMA, others=rounding(gradients=None, backward_operands="quantized")
    ),
    "pretrain gpt2 clamp masks": Case("pretrain", PLAIN_GPT2, others=rounding(clamp_mask=True)),
}
"""Those in sight while the terms were written."""
HELD_OUT = {
    "sft wide double quantization": Case(
        "sft", WIDE, micro=3, length=144, checkpointing=True, adapter=lora(rank=16, storage=DOUBLE), **MIXED
    ),
    "sft tied in parts checkpointing": Case(
        "sft", TIED, micro=2, batch=6, length=176, checkpointing=True, optimizer="adamw_bnb_8bit"
    ),
    "dpo wide attention only": Case(
        "dpo", WIDE, micro=2, length=120, adapter=lora(ATTENTION, 8, 0.05), **MIXED
    ),
    "dpo tied quantized": Case(
        "dpo",
        TIED,
        micro=1,
        batch=4,
        length=240,
        checkpointing=True,
        adapter=lora(rank=8, storage=DOUBLE),
        **MIXED,
    ),
    "pretrain tied in parts": Case("pretrain", TIED, micro=2, batch=8, length=100, optimizer="sgd"),
    "pretrain gpt2 autocast checkpointing": Case(
        "pretrain", SMALL_GPT2, micro=5, length=80, autocast="bfloat16", checkpointing=True
    ),
    "pretrain wide eager autocast": Case(
        "pretrain", WIDE, micro=3, length=128, attention="eager", autocast="bfloat16"
    ),
    "reward tied checkpointing": Case("reward", TIED, micro=3, length=136, checkpointing=True),
    "reference wide quantized": Case(
        "reference", WIDE, micro=3, length=168, adapter=lora(storage=NF4), dtype="bfloat16"
    ),
    "generate gpt2": Case("generate", SMALL_GPT2, micro=6, length=120, new_tokens=48),
    "evaluate wide": Case("evaluate", WIDE, micro=5, length=220, dtype="bfloat16"),
    "ppo tied autocast": Case("ppo", TIED, micro=4, length=96, new_tokens=48, adapter=lora(rank=8), **MIXED),
    "grpo llama": Case("grpo", LLAMA, batch=8, adapter=lora(("q_proj", "v_proj"), dropout=0.0)),
    "grpo narrow autocast": Case("grpo", NARROW, length=96, new_tokens=48, adapter=lora(rank=8), **MIXED),
    "grpo tied": Case("grpo", TIED, micro=3, batch=6, length=140, new_tokens=100, adapter=lora(rank=8)),
    "rloo mistral checkpointing": Case(
        "rloo",
        MISTRAL,
        micro=2,
        batch=4,
        length=112,
        new_tokens=64,
        checkpointing=True,
        adapter=lora(),
    ),
    "rloo wide autocast": Case(
        "rloo",
        WIDE,
        micro=2,
        batch=8,
        length=80,
        new_tokens=40,
        adapter=lora(ATTENTION, 8, 0.0),
        tile=None,
        **MIXED,
    ),
    "pretrain mistral rounded operands autocast": Case(
        "pretrain", MISTRAL, length=96, autocast="bfloat16", others=rounding(backward_operands="quantized")
    ),
    "pretrain tied clamp masks checkpointing": Case(
        "pretrain", TIED, micro=3, checkpointing=True, others=rounding(clamp_mask=True)
    ),
    "pretrain gpt2 everything rounded": Case(
        "pretrain",
        SMALL_GPT2,
        micro=2,
        batch=4,
        others=rounding(clamp_mask=True, backward_operands="quantized", first_moment={}, second_moment={}),
    ),
    "pretrain wide rounded weights": Case(
        "pretrain",
        WIDE,
        length=80,
        others=rounding(activations=None, gradients=None, backward_operands="quantized"),
    ),
}
"""Those measured once the model was finished; no term or constant was changed for them."""
QUICK = (
    "sft wide double quantization",
    "dpo wide attention only",
    "pretrain gpt2 autocast checkpointing",
    "reward tied checkpointing",
    "grpo narrow autocast",
    "pretrain gpt2 everything rounded",
)
"""Six of them for the default suite."""
