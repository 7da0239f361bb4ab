"""`sft`: supervised fine-tuning on the chosen response (TRL's SFTTrainer)."""

from workers.kinds import Kind
from workers.recipe import Recipe
from workers.specs.data import InstructionData, PreferenceData, Template
from workers.specs.model import LoraRecipe, ModelRecipe
from workers.specs.training import Training


class SftRecipe(Recipe):
    """`L = - sum_t m_t log pi(y_t | x, y_<t) / sum_t m_t` (alignment study, section 4.2).

    Exactly one of `preferences` and `instructions` is given. `mask_prompt` sets m to the response alone.
    Without `adapter` every weight is trained and the output is `model/`; with it, `adapter/`.
    """

    model: ModelRecipe = ModelRecipe()
    adapter: LoraRecipe | None = None
    preferences: PreferenceData | None = None
    instructions: InstructionData | None = None
    template: Template = Template()
    max_length: int = 2048
    mask_prompt: bool = True
    training: Training = Training()


SFT = Kind("sft", 1, SftRecipe, "workers.stages.sft:run", roles=("base",), distributed=True)
