"""The recipe of a world: a seed and sizes. Equal recipe and generator version: equal bytes on any machine."""

import hashlib
import json

from pydantic import BaseModel, ConfigDict, Field

GENERATOR_VERSION = 1
"""Raise it with every change that alters any byte of any world."""


class WorldRecipe(BaseModel):
    """Everything that decides a world's bytes, besides `GENERATOR_VERSION`. Sizes count rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, description="draws the facts and every row")
    pretrain_rows: int = Field(
        default=9600, ge=1, le=200_000, description="documents of pretrain/train.jsonl"
    )
    validation_rows: int = Field(
        default=400, ge=1, le=20_000, description="documents of pretrain/validation.jsonl"
    )
    instruction_rows: int = Field(
        default=1600, ge=1, le=20_000, description="rows of instructions/train.jsonl"
    )
    preference_rows: int = Field(
        default=800, ge=1, le=20_000, description="training pairs of each preference and set"
    )
    preference_test_rows: int = Field(
        default=160, ge=1, le=512, description="test pairs of each preference and set"
    )
    generation_rows: int = Field(
        default=96, ge=1, le=512, description="prompts of toxic/test and of helpful/test"
    )
    reasoning_rows: int = Field(default=32, ge=1, le=64, description="test questions of each reasoning task")


def world_digest(recipe: WorldRecipe) -> str:
    """The sha256 (hex) of the generator version and the whole recipe: the identity of the written bytes."""
    identity = {"generator_version": GENERATOR_VERSION, "recipe": recipe.model_dump(mode="json")}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
