"""Parents of a merge as differences from their common base: `delta_i = (alpha / rank) B_i A_i`, one tensor
at a time.
"""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from workers.context import BadInput, Parent, StageContext
from workers.models.adapters import CONFIGURATION, load_adapter_tensors
from workers.models.loading import adapter_base
from workers.models.sources import ModelSource

PREFIX = "base_model.model."
FACTOR_A = ".lora_A.weight"


class Delta(ABC):
    """What a parent adds to its base, by the names of the base's tensors."""

    @abstractmethod
    def names(self) -> set[str]:
        """The tensors that differ from the base."""

    @abstractmethod
    def of(self, name: str, base: torch.Tensor) -> torch.Tensor:
        """The difference of one tensor (zero for one that is not in `names`); fp32."""


class AdapterDelta(Delta):
    """A LoRA adapter multiplied out."""

    def __init__(self, directory: Path) -> None:
        self._tensors = load_adapter_tensors(directory)
        settings = json.loads((directory / CONFIGURATION).read_text())
        rank: float = settings["r"]
        self._scale = settings["lora_alpha"] / (rank**0.5 if settings.get("use_rslora") else rank)
        self._transposed = bool(settings.get("fan_in_fan_out"))

    def names(self) -> set[str]:
        """Weights with an adapter."""
        factors = [name for name in self._tensors if name.endswith(FACTOR_A)]
        return {name.removeprefix(PREFIX).removesuffix(FACTOR_A) + ".weight" for name in factors}

    def of(self, name: str, base: torch.Tensor) -> torch.Tensor:
        """`(alpha / rank) B A`."""
        stem = PREFIX + name.removesuffix(".weight")
        if stem + FACTOR_A not in self._tensors:
            return torch.zeros_like(base, dtype=torch.float32)
        a, b = self._tensors[stem + FACTOR_A], self._tensors[stem + ".lora_B.weight"]
        delta: torch.Tensor = self._scale * (b.float() @ a.float())
        return (delta.T if self._transposed else delta).to(base.device)


class ModelDelta(Delta):
    """A full model less its base, read from safetensors as needed."""

    def __init__(self, directory: Path) -> None:
        self._files = {
            name: path for path in sorted(directory.glob("*.safetensors")) for name in _tensor_names(path)
        }

    def names(self) -> set[str]:
        """Every tensor of the model."""
        return set(self._files)

    def of(self, name: str, base: torch.Tensor) -> torch.Tensor:
        """`theta_i - theta_base`."""
        if name not in self._files:
            return torch.zeros_like(base, dtype=torch.float32)
        with safe_open(self._files[name], framework="pt") as stream:
            tensor: torch.Tensor = stream.get_tensor(name)
        return tensor.to(base.device).float() - base.float()


def parent_deltas(parents: list[Parent]) -> list[Delta]:
    """The deltas of the parents, in their order.

    Raises:
        BadInput: a parent left neither adapter nor model.
    """
    return [_delta(parent) for parent in parents]


def common_base(context: StageContext, parents: list[Parent]) -> ModelSource:
    """The base of all parents.

    Raises:
        BadInput: there are fewer than two parents, or they stand on different bases.
    """
    if len(parents) < 2:
        raise BadInput(f"a merge needs at least two parents in role `merged`, not {len(parents)}")
    sources = {
        source.key: source for source in (adapter_base(context.workspace, context, each) for each in parents)
    }
    if len(sources) > 1:
        raise BadInput(f"the parents of a merge stand on different bases: {', '.join(sorted(sources))}")
    return next(iter(sources.values()))


def quantizations(parents: list[Parent]) -> list[Any]:
    """How each parent's base was stored while it was trained."""
    return [
        getattr(getattr(parent.stage.recipe, "adapter", None), "quantization", None) for parent in parents
    ]


def _delta(parent: Parent) -> Delta:
    if (parent.output / "adapter").is_dir():
        return AdapterDelta(parent.output / "adapter")
    if (parent.output / "model").is_dir():
        return ModelDelta(parent.output / "model")
    raise BadInput(
        f"stage {parent.stage.id} ({parent.stage.kind.name}) left neither adapter nor model to merge"
    )


def _tensor_names(path: Path) -> list[str]:
    with safe_open(path, framework="pt") as stream:
        return list(stream.keys())
