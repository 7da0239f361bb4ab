"""PEFT's own merge: the factors A and B apart, `add_weighted_adapter` with DARE-TIES. It refuses unequal
ranks.
"""

from typing import Any

import torch

from workers.context import BadInput, Parent
from workers.identity import derive_seed
from workers.models.merging.dense import parent_weights
from workers.models.merging.parents import Delta
from workers.specs.merge import MergeRecipe
from workers.training.seeding import seed_all

MERGED = "merged"


class FactorsDelta(Delta):
    """The merged adapter multiplied out, as PEFT would add it."""

    def __init__(self, deltas: dict[str, torch.Tensor]) -> None:
        self._deltas = deltas

    def names(self) -> set[str]:
        """Weights with an adapter."""
        return set(self._deltas)

    def of(self, name: str, base: torch.Tensor) -> torch.Tensor:
        """The merged difference."""
        return self._deltas[name].to(base.device).float()


def merged_factors(recipe: MergeRecipe, model: Any, parents: list[Parent]) -> FactorsDelta:
    """Merge the parents' adapters on `model` (a borrowed base, which PEFT wraps).

    Raises:
        BadInput: a parent is no adapter, or PEFT refuses (ranks or modules differ).
    """
    from peft import PeftModel

    directories = [parent.output / "adapter" for parent in parents]
    for directory in directories:
        if not directory.is_dir():
            raise BadInput(f"peft-dare-ties merges adapters; {directory} does not exist")
    names = [f"parent{place}" for place in range(len(parents))]
    peft = PeftModel.from_pretrained(model, str(directories[0]), adapter_name=names[0])
    for name, directory in zip(names[1:], directories[1:], strict=True):
        peft.load_adapter(str(directory), adapter_name=name)
    seed_all(derive_seed(recipe.seed, "merge"))
    try:
        peft.add_weighted_adapter(
            names,
            parent_weights(recipe, len(parents)),
            MERGED,
            combination_type="dare_ties",
            density=recipe.density,
        )
    except ValueError as error:
        raise BadInput(f"PEFT cannot merge these adapters: {error}") from None
    return FactorsDelta({name: recipe.scale * delta for name, delta in _deltas(peft)})


def _deltas(peft: Any) -> list[tuple[str, torch.Tensor]]:
    from peft.tuners.lora import LoraLayer

    prefix = "base_model.model."
    layers = [(name, module) for name, module in peft.named_modules() if isinstance(module, LoraLayer)]
    return [
        (f"{name.removeprefix(prefix)}.weight", module.get_delta_weight(MERGED)) for name, module in layers
    ]
