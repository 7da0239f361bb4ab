"""Writes trl_ppo.json: what TRL's PPO trainer makes of fixed episodes, number by number.

    python record.py            with an interpreter that has trl 1.12 (later ones have no PPO), nothing of ours

A random model of eight words samples ragged responses, some without an end mark; the reference is another random
model near it. For each estimator one PPO step of four optimizer steps is run, and what its loop held is written:
per-token log-probabilities, penalties, rewards, values and returns, then each mini-batch's tokens, losses and means.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
import trl
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    TrainerCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

WORDS, ROWS, TOKENS, PROMPT = 8, 8, 7, 3
PAD, END = 0, 1
SETTINGS = {
    "kl_coef": 0.3,
    "cliprange": 0.1,
    "cliprange_value": 0.05,
    "gamma": 0.98,
    "lam": 0.9,
    "vf_coef": 0.1,
}


def tokenizer() -> PreTrainedTokenizerFast:
    """Words `w2` to `w7` after a padding and an end mark."""
    words = {"<pad>": PAD, "</s>": END, **{f"w{number}": number for number in range(2, WORDS)}}
    plain = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="</s>", padding_side="left"
    )


def model(kind: Any, seed: int) -> Any:
    """A random model of one layer."""
    torch.manual_seed(seed)
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    settings = LlamaConfig(
        vocab_size=WORDS, pad_token_id=PAD, eos_token_id=END, initializer_range=0.3, **shape
    )
    if kind is LlamaForSequenceClassification:
        settings.num_labels = 1
    return kind(settings)


def near(policy: Any, seed: int) -> Any:
    """A reference: the policy with a little noise on every weight."""
    other = model(LlamaForCausalLM, 0)
    other.load_state_dict(policy.state_dict())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.05)
    return other


def loop() -> dict[str, Any]:
    """The local variables of the trainer's loop, from anything that it calls."""
    frame: Any = sys._getframe()
    while frame.f_code.co_name != "train":
        frame = frame.f_back
    return dict(frame.f_locals)


def plain(found: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: found[name].tolist() for name in names}


class Kept(TrainerCallback):
    """The rollout's figures at the end of the step."""

    NAMES = (
        "logprobs", "ref_logprobs", "kl", "non_score_reward", "scores", "rewards", "values", "returns", "advantages",
        "padding_mask", "padding_mask_p1",
    )  # fmt: skip

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.found = plain(loop(), self.NAMES)


class Updates:
    """Each mini-batch's figures, read at the last of the four means that the update takes."""

    NAMES = (
        "new_logprobs", "mb_logprobs", "mb_advantage", "vpred", "mb_values", "mb_return", "pg_loss_max", "pg_loss",
        "vf_loss_max", "vf_loss", "vf_clipfrac",
    )  # fmt: skip

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []
        self.mean = ppo_trainer.masked_mean
        self.calls = 0

    def masked_mean(self, values: torch.Tensor, mask: torch.Tensor, axis: Any = None) -> torch.Tensor:
        found: torch.Tensor = self.mean(values, mask, axis)
        if sys._getframe(1).f_code.co_name == "train":
            self.calls += 1
            if self.calls % 4 == 0:
                self.keep(found)
        return found

    def keep(self, clipped: torch.Tensor) -> None:
        now = loop()
        rows = now["micro_batch_inds"]
        masks = {name: now[name][rows] for name in ("padding_mask", "padding_mask_p1")}
        self.found.append(
            {**plain(now, self.NAMES), "pg_clipfrac": clipped.item(), **plain(masks, tuple(masks))}
        )


def step(estimator: str) -> dict[str, Any]:
    """One PPO step with an estimator of the penalty."""
    words, kept, updates = tokenizer(), Kept(), Updates()
    policy = model(LlamaForCausalLM, 1)
    generator = torch.Generator().manual_seed(5)
    rows = torch.randint(2, WORDS, (ROWS, PROMPT), generator=generator).tolist()
    ppo_trainer.masked_mean = updates.masked_mean
    try:
        with tempfile.TemporaryDirectory() as scratch:
            arguments = PPOConfig(
                output_dir=scratch, per_device_train_batch_size=ROWS // 2, gradient_accumulation_steps=2,
                num_mini_batches=2, num_ppo_epochs=2, total_episodes=ROWS, response_length=TOKENS, stop_token="eos",
                temperature=1.0, kl_estimator=estimator, learning_rate=0.05, num_sample_generations=0,
                missing_eos_penalty=None, seed=6, bf16=False, use_cpu=True, gradient_checkpointing=False,
                report_to="none", save_strategy="no", disable_tqdm=True, **SETTINGS,
            )  # fmt: skip
            PPOTrainer(
                args=arguments,
                processing_class=words,
                model=policy,
                ref_model=near(policy, 7),
                reward_model=model(LlamaForSequenceClassification, 2),
                value_model=model(LlamaForSequenceClassification, 3),
                train_dataset=Dataset.from_list([{"input_ids": row} for row in rows]),
                callbacks=[kept],
            ).train()
    finally:
        ppo_trainer.masked_mean = updates.mean
    return {**kept.found, "updates": updates.found}


if __name__ == "__main__":
    versions = {"trl": trl.__version__, "transformers": transformers.__version__, "torch": torch.__version__}
    record = {"versions": versions, "settings": SETTINGS, **{name: step(name) for name in ("k1", "k3")}}
    Path(__file__).with_name("trl_ppo.json").write_text(json.dumps(record) + "\n")
