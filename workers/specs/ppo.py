"""`ppo`: proximal policy optimisation with low-rank adapters against a reward model."""

from typing import Literal

from pydantic import Field, model_validator

from workers.kinds import Kind
from workers.recipe import Recipe, Settings, refused
from workers.specs.data import InstructionData, PreferenceData, Template
from workers.specs.model import Dtype, LoraRecipe, ModelRecipe

Penalty = Literal[
    "none",
    "kl",
    "clamped_kl",
    "bregman",
    "bregman_v0",
    "squared_error",
    "jensen_shannon",
    "js_unbiased",
    "kl_full",
    "js_full",
]
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


class AdaptiveCoefficient(Settings):
    """The coefficient follows the summed penalty of an episode towards `target` (study, section 5)."""

    target: float = Field(default=6.0, gt=0)
    gain: float = Field(default=0.1, gt=0)


class Regularizer(Settings):
    """What keeps the policy near the reference (study, section 6.1).

    `placement` puts `coefficient` times the penalty into the reward, where no gradient flows through it, or into the
    loss. A negative coefficient rewards moving away.
    """

    penalty: Penalty = "kl"
    coefficient: float = 0.02
    placement: Literal["reward", "loss"] = "reward"
    adaptive: AdaptiveCoefficient | None = None


class Rollout(Settings):
    """One PPO step's episodes: one response for each of `batch_size` prompts, sampled at `temperature`.

    Prompts longer than `prompt_tokens` are left out. `missing_end` replaces the score of a response without an end
    mark. `score_text` scores the decoded text, tokenized anew, as published; else the tokens themselves.

    At the first and every `distributions_every`-th PPO step the policy is read once more for its whole distributions:
    true KL, entropies, and how far its log-probabilities are from those that were drawn. At the others the drawn ones
    serve the update, and these figures are left out.
    """

    batch_size: int = Field(default=256, ge=1)
    prompt_tokens: int = Field(default=192, ge=1)
    new_tokens: int = Field(default=300, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    missing_end: float | None = None
    score_text: bool = False
    distributions_every: int = Field(default=1, ge=1)


class Estimation(Settings):
    """From rewards to advantages (study, sections 6.2 to 6.6).

    `padding` counts the padding after a response as part of it, as published.
    """

    gamma: float = Field(default=1.0, gt=0, le=1)
    lam: float = Field(default=0.95, ge=0, le=1)
    whiten_rewards: bool = True
    whiten_advantages: bool = True
    padding: Literal["masked", "counted"] = "masked"


class PpoTraining(Settings):
    """How the adapters move. `steps` are PPO steps; `batch_size` counts episodes per optimizer step.

    Each step's episodes are passed over `epochs` times. The rate warms up over `warmup_steps` PPO steps and falls
    linearly to 0 at `horizon` (None: `steps`).

    `accumulation: repeat` is the published loop: batches of `batch_size / repeats` episodes, each passed `repeats`
    times with undivided gradients, clipped after every pass. `dropout` in the update is `matched`: old
    log-probabilities and values are computed anew under the masks of the update, so that the ratio starts at 1;
    `mismatched` compares with the rollout's, which has no dropout; `off`. `checkpoint_label: before_step` calls the
    weights before step k those of step k.
    """

    steps: int = Field(default=100, ge=1)
    batch_size: int = Field(default=128, ge=1)
    epochs: int = Field(default=2, ge=1)
    learning_rate: float = Field(default=1e-5, gt=0)
    warmup_steps: int = Field(default=5, ge=0)
    horizon: int | None = Field(default=None, ge=1)
    max_gradient_norm: float = Field(default=1.0, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    epsilon: float = Field(default=1e-5, gt=0)
    policy_clip: float = Field(default=0.2, gt=0)
    value_clip: float = Field(default=0.2, gt=0)
    value_coefficient: float = Field(default=0.1, ge=0)
    average: Literal["token_mean", "seq_mean_token_mean"] = "token_mean"
    accumulation: Literal["true", "repeat"] = "true"
    repeats: int = Field(default=8, ge=1)
    dropout: Literal["matched", "mismatched", "off"] = "matched"
    adapter_dtype: Literal["float32", "bfloat16"] = "float32"
    checkpoint_label: Literal["after_step", "before_step"] = "after_step"
    autocast: Literal["none", "bfloat16"] = "none"

    @property
    def update_size(self) -> int:
        """Episodes in one optimizer step."""
        return self.batch_size // self.repeats if self.accumulation == "repeat" else self.batch_size


class PpoRecipe(Recipe):
    """PPO on the prompts of exactly one of `preferences` and `instructions` (LoRA PPO study, sections 3 to 6).

    The parent in role `base` gives the backbone that policy and reference share, the one in role `reward` that of
    value and reward. `adapter` is the policy's, `value_adapter` the value's (None: the same settings).
    `value_backbone: policy` starts the value from the policy's weights instead, and shares them; its adapter is then
    on a base of the policy's precision. `reference_dtype` gives the reference a backbone of its own in that
    precision, as published.
    """

    model: ModelRecipe = ModelRecipe()
    adapter: LoraRecipe = LoraRecipe(rank=8, alpha=64, dropout=0.1, target_modules=ATTENTION)
    value_adapter: LoraRecipe | None = None
    value_backbone: Literal["reward", "policy"] = "reward"
    reference_dtype: Dtype | None = None
    preferences: PreferenceData | None = None
    instructions: InstructionData | None = None
    template: Template = Template()
    rollout: Rollout = Rollout()
    regularizer: Regularizer = Regularizer()
    estimation: Estimation = Estimation()
    training: PpoTraining = PpoTraining()

    @model_validator(mode="after")
    def _batches_divide(self) -> "PpoRecipe":
        training, rollout = self.training, self.rollout
        if training.accumulation == "repeat" and training.batch_size % training.repeats:
            raise refused(
                f"training.batch_size {training.batch_size} is no multiple of repeats {training.repeats}"
            )
        if rollout.batch_size % training.update_size:
            raise refused(
                f"rollout.batch_size {rollout.batch_size} is no multiple of {training.update_size}, the episodes of "
                "one optimizer step"
            )
        if rollout.distributions_every > 1 and self.regularizer.penalty.endswith("_full"):
            raise refused(
                f"penalty {self.regularizer.penalty} needs whole distributions at every step: leave "
                "rollout.distributions_every at 1"
            )
        return self


PPO = Kind("ppo", 1, PpoRecipe, "workers.stages.ppo:run", roles=("base", "reward"))
