"""A small policy, a small reward model on the same base, and PPO recipes that take a second."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.support.training import PREFERENCES, VICUNA, Lab, Ran, short
from workers.context import Parent
from workers.models.sources import parent_source
from workers.specs.model import LoraRecipe
from workers.specs.ppo import Estimation, PpoRecipe, PpoTraining, Regularizer, Rollout
from workers.specs.reward import REWARD, RewardRecipe

STEPS = 3
ADAPTER = LoraRecipe(rank=4, alpha=8, dropout=0.1, target_modules=("q_proj", "v_proj"))
ROLLOUT = Rollout(batch_size=8, new_tokens=6, prompt_tokens=40)
TRAINING = PpoTraining(steps=STEPS, batch_size=4, learning_rate=5e-3, warmup_steps=1)
PUBLISHED: dict[str, Any] = {
    "rollout": ROLLOUT.model_copy(update={"score_text": True}),
    "estimation": Estimation(padding="counted"),
    "training": TRAINING.model_copy(
        update={
            "batch_size": 8,
            "accumulation": "repeat",
            "repeats": 2,
            "dropout": "mismatched",
            "adapter_dtype": "bfloat16",
            "checkpoint_label": "before_step",
            "horizon": 20,
        }
    ),
}


def ppo_recipe(**others: Any) -> PpoRecipe:
    given: dict[str, Any] = {
        "adapter": ADAPTER,
        "preferences": PREFERENCES,
        "template": VICUNA,
        "rollout": ROLLOUT,
        "regularizer": Regularizer(penalty="kl", coefficient=0.1),
        "training": TRAINING,
    }
    return PpoRecipe(**given | others)


def training(**others: Any) -> PpoTraining:
    return PpoTraining(**TRAINING.model_dump() | others)


def without_dropout(**others: Any) -> PpoRecipe:
    return ppo_recipe(adapter=ADAPTER.model_copy(update={"dropout": 0.0}), **others)


def reward_recipe(**others: Any) -> RewardRecipe:
    given: dict[str, Any] = {"preferences": PREFERENCES, "template": VICUNA, "training": short(12)}
    return RewardRecipe(**given | others)


def reward_of(lab: Lab, base: Parent, **others: Any) -> Parent:
    return lab.run(REWARD, reward_recipe(**others), (base,)).parent("reward")


def random_parents(
    base: Parent, reward: Parent, directory: Path, shape: dict[str, int]
) -> tuple[Parent, Parent]:
    """Two models of a shape, as the stages of `base` and `reward` would have left them: for time and memory."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(parent_source(base).directory)
    marks = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    settings = LlamaConfig(**shape, **marks, tie_word_embeddings=True, num_labels=1)
    for role, kind in (("base", LlamaForCausalLM), ("reward", LlamaForSequenceClassification)):
        kind(settings).save_pretrained(directory / role / "model")
        tokenizer.save_pretrained(directory / role / "model")
    return (
        Parent("base", base.stage, directory / "base", []),
        Parent("reward", reward.stage, directory / "reward", []),
    )


def curves(ran: Ran) -> dict[str, list[float]]:
    """What a run logged, step by step."""
    found: dict[str, list[float]] = {}
    for row in pq.read_table(ran.output / "curves.parquet").to_pylist():
        found.setdefault(row["name"], []).append(row["value"])
    return found
