"""TRL's PPO trainer as its user writes it, one step whenever a line arrives: the other side of `test_ppo.py`.

    python trl_ppo.py JOB.json      with an interpreter that has trl 1.12

The job holds directories of policy and reward model, prompts as token ids, and settings. After each step it prints a
line of JSON: processor seconds, sampled tokens, trained parameters. Policy and value model have an adapter each; the
value's head is trained whole, with a bias, as ours is. Nothing here is ours.
"""

import json
import sys
import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PrinterCallback,
    TrainerCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer

FOREVER = 1_000_000


class OneByOne(TrainerCallback):
    """Waits for a line before each step and answers with what it took."""

    def __init__(self, tokens: int) -> None:
        self.tokens, self.started, self.model = tokens, 0.0, None

    def wait(self) -> None:
        if not sys.stdin.readline():
            raise SystemExit(0)
        self.started = time.process_time()

    def on_train_begin(self, *_: Any, model: Any, **__: Any) -> None:
        self.model = model
        self.wait()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        trained = sum(one.numel() for one in self.model.parameters() if one.requires_grad)
        answer = {"seconds": time.process_time() - self.started, "tokens": self.tokens, "trained": trained}
        print(f"STEP {json.dumps(answer)}", flush=True)
        self.wait()


def scorer(directory: str) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(directory, num_labels=1, dtype=torch.float32)


def value_model(directory: str, adapter: LoraConfig) -> Any:
    """The reward model with an adapter inside and a new head."""
    model = scorer(directory).requires_grad_(False)
    model.score = nn.Linear(model.config.hidden_size, 1)
    nn.init.zeros_(model.score.weight)
    nn.init.zeros_(model.score.bias)
    return inject_adapter_in_model(adapter, model).requires_grad_(False)


def main(job: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    adapter = LoraConfig(lora_dropout=0.0, bias="none", **job["adapter"])
    value = value_model(job["reward"], adapter)
    for name, parameter in value.named_parameters():
        parameter.requires_grad_("lora_" in name or name.startswith("score."))
    size = job["batch_size"]
    with tempfile.TemporaryDirectory() as scratch:
        arguments = PPOConfig(
            output_dir=scratch, per_device_train_batch_size=size, num_mini_batches=1, num_ppo_epochs=job["epochs"],
            total_episodes=size * FOREVER, response_length=job["new_tokens"], temperature=1.0,
            learning_rate=job["learning_rate"], num_sample_generations=0, bf16=False, use_cpu=True,
            gradient_checkpointing=False, report_to="none", save_strategy="no", logging_strategy="no",
            disable_tqdm=True, kl_coef=0.05,
        )  # fmt: skip
        trainer = PPOTrainer(
            args=arguments,
            processing_class=AutoTokenizer.from_pretrained(job["policy"], padding_side="left"),
            model=AutoModelForCausalLM.from_pretrained(job["policy"], dtype=torch.float32),
            ref_model=None,
            reward_model=scorer(job["reward"]),
            value_model=value,
            train_dataset=Dataset.from_list([{"input_ids": row} for row in job["prompts"]]),
            callbacks=[OneByOne(size * job["new_tokens"])],
            peft_config=LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, bias="none", **job["adapter"]),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        main(json.load(file))
