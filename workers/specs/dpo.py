"""`dpo`: direct preference optimisation (TRL's DPOTrainer)."""

from pydantic import Field

from workers.kinds import Kind
from workers.recipe import Recipe
from workers.specs.data import PreferenceData, Template
from workers.specs.model import LoraRecipe, ModelRecipe
from workers.specs.training import Training


class DpoRecipe(Recipe):
    """`L = - mean log sigmoid(beta h)`, `h = (l_pi - l_ref)(y_w) - (l_pi - l_ref)(y_l)` (alignment study, 4.2).

    With a parent in role `reference` the reference log-probabilities come from it; without one the trainer
    computes them itself with the adapter switched off.
    """

    model: ModelRecipe = ModelRecipe()
    adapter: LoraRecipe = LoraRecipe()
    preferences: PreferenceData = PreferenceData()
    template: Template = Template()
    beta: float = Field(default=0.1, gt=0)
    training: Training = Training()


DPO = Kind("dpo", 1, DpoRecipe, "workers.stages.dpo:run", roles=("base", "reference"), distributed=True)
