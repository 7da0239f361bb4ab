"""LoRA adapters: their configuration, their seeded start, and their files (Hu et al., arXiv 2106.09685)."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from workers.specs.model import LoraRecipe

ADAPTER = "default"
WEIGHTS = "adapter_model.safetensors"
CONFIGURATION = "adapter_config.json"


def lora_config(recipe: LoraRecipe) -> Any:
    """PEFT's configuration of a recipe."""
    from peft import LoraConfig

    return LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=list(recipe.target_modules),
        task_type="CAUSAL_LM",
    )


def start_adapter(model: Any, seed: int) -> None:
    """Draw every A anew in fp32 under `seed` as PEFT does (on the CPU, for any device), set every B to zero.

    TRL rounds the adapters of a quantized base to bf16, so that a fresh run would start from other values
    than PEFT drew, and train in another precision than a resumed one. This undoes both: LoRA and QLoRA
    start equal.
    """
    from peft.tuners.lora import LoraLayer

    trainable_in_fp32(model)
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, LoraLayer):
            _start_factors(module.lora_A[ADAPTER].weight, module.lora_B[ADAPTER].weight, generator)


def _start_factors(a: torch.Tensor, b: torch.Tensor, generator: torch.Generator) -> None:
    drawn = torch.empty(a.shape, dtype=torch.float32)
    torch.nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
    with torch.no_grad():
        a.copy_(drawn)
        b.zero_()


def trainable_in_fp32(model: Any) -> None:
    """Hold every trainable parameter in fp32, in fresh and in resumed runs alike."""
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            parameter.data = parameter.data.to(torch.float32)


def save_adapter(model: Any, directory: Path, base: str) -> None:
    """Write PEFT's two files; the same adapter always gives the same bytes.

    `base` names the base model; a path of this machine would make equal adapters differ.
    """
    from peft import get_peft_model_state_dict

    directory.mkdir(parents=True, exist_ok=True)
    state = get_peft_model_state_dict(model, adapter_name=ADAPTER, save_embedding_layers=False)
    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in sorted(state.items())}
    save_file(tensors, directory / WEIGHTS, metadata={"format": "pt"})
    (directory / CONFIGURATION).write_text(_configuration_text(model.peft_config[ADAPTER], base))


def load_adapter_tensors(directory: Path) -> dict[str, torch.Tensor]:
    """The adapter's tensors by PEFT's names, on the CPU."""
    return dict(load_file(directory / WEIGHTS))


def attach_adapter(model: Any, directory: Path) -> Any:
    """The model with the adapter of `directory` on it, frozen, in evaluation mode and fp32 factors."""
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(directory), is_trainable=False).eval()


def _configuration_text(configuration: Any, base: str) -> str:
    """PEFT's own keys, sorted; sets and enumerations as lists and values."""
    settings = {**configuration.to_dict(), "base_model_name_or_path": base, "inference_mode": True}
    return json.dumps(settings, indent=2, sort_keys=True, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set | frozenset) else getattr(value, "value", str(value))
