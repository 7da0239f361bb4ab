"""`merge`: one model from several aligned ones."""

from typing import Literal

from pydantic import Field

from workers.kinds import Kind
from workers.recipe import Recipe
from workers.specs.model import ModelRecipe


class MergeRecipe(Recipe):
    """Merging of the parents in role `merged`, in their order (alignment study, section 5).

    `slerp`, `dare-ties` and `linear` act on dense tensors, `theta_base + (alpha / rank) B A`; `peft-dare-ties`
    merges the factors A and B as PEFT does. `base_precision` is the base that the adapters are added to:
    unquantized, or dequantized from the storage they were trained on. The output is `merge.json`, a recipe and
    the digest of the tensors it gives: a merge is rebuilt where it is needed, not stored.
    """

    model: ModelRecipe = ModelRecipe()
    method: Literal["slerp", "dare-ties", "linear", "peft-dare-ties"] = "slerp"
    interpolation: float = Field(default=0.5, ge=0, le=1)
    layered: bool = False
    density: float = Field(default=0.5, gt=0, le=1)
    weights: tuple[float, ...] = ()
    scale: float = 1.0
    normalize: bool = False
    base_precision: Literal["unquantized", "dequantized"] = "unquantized"


MERGE = Kind("merge", 1, MergeRecipe, "workers.stages.merge:run", roles=("base", "merged"))
