"""Optimization settings that every training kind shares; names are those of transformers' TrainingArguments."""

from typing import Literal

from pydantic import Field

from workers.recipe import Settings


class Training(Settings):
    """How the weights move.

    `batch_size` is the effective batch (sequences or pairs per optimizer step); the micro-batch is a matter of
    execution. `divergence` is the rule that calls a run diverged: the loss is not finite, or exceeds
    `divergence` times the first loss for ten steps in a row.

    With `validation_steps` the loss on at most `validation_rows` rows of the validation split is measured after
    every so many steps and after the last.
    """

    steps: int = Field(default=700, ge=1)
    batch_size: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=2e-4, gt=0)
    schedule: Literal["constant", "constant_with_warmup", "linear", "cosine"] = "constant"
    warmup_steps: int = Field(default=0, ge=0)
    max_gradient_norm: float = Field(default=0.3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    optimizer: Literal["adamw_torch", "paged_adamw_32bit", "adamw_bnb_8bit", "sgd"] = "adamw_torch"
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    group_by_length: bool = False
    autocast: Literal["none", "bfloat16", "float16"] = "none"
    divergence: float = Field(default=10.0, gt=1)
    validation_steps: int | None = Field(default=None, ge=1)
    validation_rows: int = Field(default=128, ge=1)
