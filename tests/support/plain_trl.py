"""SFT and DPO with LoRA as a user of TRL writes them: text in, TRL's own tokenization, loss and loop.

Nothing here is ours, so that the stages can be compared with it.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

COMMON = {
    "train_sampling_strategy": "sequential",
    "lr_scheduler_type": "constant",
    "max_grad_norm": 0.3,
    "bf16": False,
    "use_cpu": True,
    "dataloader_pin_memory": False,
    "gradient_checkpointing": False,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}
Texts = list[dict[str, str]]


def sft(model: Path, adapter: Path, texts: Texts, **settings: Any) -> SFTTrainer:
    """A trained SFTTrainer on rows `prompt`, `completion`, starting from `adapter`."""
    return _trained(SFTTrainer, SFTConfig, model, adapter, texts, settings)


def dpo(model: Path, adapter: Path, texts: Texts, **settings: Any) -> DPOTrainer:
    """A trained DPOTrainer on rows `prompt`, `chosen`, `rejected`; the reference is the base, read at every step."""
    return _trained(DPOTrainer, DPOConfig, model, adapter, texts, settings)


def _trained(
    trainer_class: Any, config_class: Any, model: Path, adapter: Path, texts: Texts, settings: dict[str, Any]
) -> Any:
    configuration = LoraConfig.from_pretrained(str(adapter))
    configuration.inference_mode = False
    with tempfile.TemporaryDirectory() as scratch:
        trainer = trainer_class(
            model=AutoModelForCausalLM.from_pretrained(str(model), dtype=torch.float32),
            args=config_class(output_dir=scratch, **COMMON, **settings),
            train_dataset=Dataset.from_list(texts),
            processing_class=AutoTokenizer.from_pretrained(str(model)),
            peft_config=configuration,
        )
        trainer.remove_callback(PrinterCallback)
        set_peft_model_state_dict(trainer.model, load_file(adapter / "adapter_model.safetensors"))
        trainer.train()
    return trainer
