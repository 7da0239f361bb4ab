"""`rloo` and `grpo`: online methods without a value model, by TRL's trainers, against the reward model of `ppo`."""

from typing import Literal, Self

from pydantic import Field, model_validator

from workers.kinds import Kind
from workers.recipe import Recipe, refused
from workers.specs.data import InstructionData, PreferenceData, Template
from workers.specs.model import LoraRecipe, ModelRecipe
from workers.specs.ppo import ATTENTION
from workers.specs.training import Training


class OnlineRecipe(Recipe):
    """What RLOO and GRPO share; the names of settings are TRL's.

    On the prompts of exactly one of `preferences` and `instructions`, at most `prompt_tokens` long and in the order in
    which `ppo` of the same seed takes them, `num_generations` completions are drawn to each. `training.batch_size`
    counts completions per optimizer step, `generation_batch_size` those that are drawn together (None: as many), each
    of which is passed `num_iterations` times. `training.steps` are optimizer steps.

    The parent in role `base` gives the backbone that policy and reference share, the one in role `reward` the scores.
    """

    model: ModelRecipe = ModelRecipe()
    adapter: LoraRecipe = LoraRecipe(rank=8, alpha=64, dropout=0.0, target_modules=ATTENTION)
    preferences: PreferenceData | None = None
    instructions: InstructionData | None = None
    template: Template = Template()
    prompt_tokens: int = Field(default=192, ge=1)
    num_generations: int = Field(default=4, ge=2)
    generation_batch_size: int | None = Field(default=None, ge=2)
    max_completion_length: int = Field(default=300, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    num_iterations: int = Field(default=1, ge=1)
    epsilon: float = Field(default=0.2, gt=0)
    epsilon_high: float | None = Field(default=None, gt=0)
    mask_truncated_completions: bool = False
    training: Training = Training(
        steps=100,
        batch_size=256,
        learning_rate=1e-5,
        schedule="linear",
        warmup_steps=5,
        max_gradient_norm=1.0,
        epsilon=1e-5,
    )

    @property
    def generated_together(self) -> int:
        """Completions that are drawn at once."""
        return self.generation_batch_size or self.training.batch_size

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        together, each = self.generated_together, self.training.batch_size
        if together % self.num_generations or together % each:
            raise refused(
                f"{together} completions are drawn together, which is no multiple of num_generations "
                f"{self.num_generations} and of training.batch_size {each}"
            )
        if self.training.validation_steps is not None:
            raise refused("online methods have no validation loss: leave out training.validation_steps")
        return self


class RlooRecipe(OnlineRecipe):
    """REINFORCE with a leave-one-out baseline (Ahmadian et al., arXiv 2402.14740).

    `beta` times the summed log-ratio to the reference (k1) is taken off each completion's score.
    """

    beta: float = 0.05
    normalize_advantages: bool = False
    reward_clip_range: tuple[float, float] | None = None


class GrpoRecipe(OnlineRecipe):
    """Group relative policy optimisation (Shao et al., arXiv 2402.03300), in TRL's variants.

    `beta` times k3 to the reference is added to the loss of each token.
    """

    beta: float = 0.0
    loss_type: Literal["grpo", "dapo", "dr_grpo", "bnpo"] = "dapo"
    scale_rewards: Literal["group", "batch", "none"] = "group"
    importance_sampling_level: Literal["token", "sequence"] = "token"


RLOO = Kind("rloo", 1, RlooRecipe, "workers.stages.online:run", roles=("base", "reward"))
GRPO = Kind("grpo", 1, GrpoRecipe, "workers.stages.online:run", roles=("base", "reward"))
