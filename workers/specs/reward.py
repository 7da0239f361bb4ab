"""`reward`: a reward model from preference pairs (TRL's RewardTrainer)."""

from workers.kinds import Kind
from workers.recipe import Recipe
from workers.specs.data import PreferenceData, Template
from workers.specs.model import LoraRecipe, ModelRecipe
from workers.specs.training import Training


class RewardRecipe(Recipe):
    """`L = - log sigmoid(r(x, y_w) - r(x, y_l))`, the score read at the last token (LoRA PPO study, section 4).

    `end_mark` keeps the end mark after each answer, so that the model can see whether one has ended; the study's
    does not. The output is a dense `model/` with a scoring head: an `adapter` is merged into it.
    """

    model: ModelRecipe = ModelRecipe()
    adapter: LoraRecipe | None = None
    preferences: PreferenceData = PreferenceData()
    template: Template = Template()
    end_mark: bool = False
    training: Training = Training()


REWARD = Kind("reward", 1, RewardRecipe, "workers.stages.reward:run", roles=("base",), distributed=True)
