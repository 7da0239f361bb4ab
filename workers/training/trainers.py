"""The trainers: TRL's for SFT and DPO, transformers' for pre-training, each with one mixin.

The mixin changes no number. It takes rows that are tokenized and in training order, keeps checkpoints and
weights in our own files, and leaves out what costs time without changing a result (model cards, per-step
parameter counts, hashes of the model, progress bars).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer
from trl import DPOTrainer, SFTTrainer

from workers.context import StageContext
from workers.data.ordered import OrderedRows
from workers.models.adapters import ADAPTER, load_adapter_tensors, save_adapter, trainable_in_fp32
from workers.training.collective import common_checkpoint
from workers.training.deepspeed import whole_adapter, whole_tensors, zero_stage
from workers.training.validation import Validation

PROGRESS = "progress.json"
MODEL = "model.safetensors"
Rows = Sequence[dict[str, Any]]


class StageTrainer:
    """Mixin before a Trainer class.

    `rows` holds one entry for every training position, in training order, so that the data of step k is known
    without drawing anything. `base_name` is what an adapter's configuration calls its base.
    """

    context: StageContext
    base_name: str
    model: Any
    state: Any
    args: Any
    accelerator: Any
    validations: list[Validation]

    def take(self, context: StageContext, rows: Rows, base_name: str) -> None:
        """Give the trainer its stage and its rows, once it is constructed."""
        self.context = context
        self.train_dataset = rows
        self.base_name = base_name
        self.validations = []
        self._parameters = self.model.num_parameters(exclude_embeddings=True)  # while every weight is whole
        self.remove_callback(PrinterCallback)  # type: ignore[attr-defined]
        trainable_in_fp32(self.model)

    @property
    def is_adapter(self) -> bool:
        """Whether an adapter is trained, not every weight."""
        return hasattr(self.model, "peft_config")

    @property
    def trained_tokens(self) -> int:
        """Tokens seen so far, in this process and before."""
        return int(getattr(self, "_total_train_tokens", 0))

    def save_weights(self, directory: Path) -> None:
        """Write `adapter/` or `model/` (weights and configuration) below `directory`; of several processes one does."""
        strategy, is_first = self.context.execution.strategy, self.context.rank == 0
        if self.is_adapter:
            with whole_adapter(self.model, strategy):
                if is_first:
                    save_adapter(self.model, directory / "adapter", self.base_name)
            return
        tensors = whole_tensors(self, strategy)
        if is_first:
            (directory / "model").mkdir(parents=True, exist_ok=True)
            save_full_model(self.model, directory / "model", tensors)

    def _prepare_dataset(self, dataset: Any, *others: Any) -> Any:
        """Rows are tokenized already."""
        return dataset

    def _get_train_sampler(self, *others: Any) -> Any:
        return SequentialSampler(self.train_dataset)

    def _get_collator_with_removed_columns(self, data_collator: Any, description: str | None = None) -> Any:
        return data_collator

    def floating_point_ops(self, inputs: dict[str, Any]) -> float:
        """Six operations per parameter and token (Kaplan et al., arXiv 2001.08361), counted once."""
        return 6.0 * float(inputs["input_ids"].numel()) * float(self._parameters)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Keep what a step logs; the summary at the end of each process would differ after a resume."""
        if "train_runtime" not in logs:
            super().log(logs, start_time)  # type: ignore[misc]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        step = self.state.global_step
        with self.context.phase("save"), common_checkpoint(self.context, step) as directory:
            self.save_weights(directory)
            self._save_optimizer_and_scheduler(str(directory))  # type: ignore[attr-defined]
            self._save_scaler(str(directory))  # type: ignore[attr-defined]
            self._save_rng_state(str(directory))  # type: ignore[attr-defined]
            if self.context.rank == 0:
                self._save_account(directory)

    def _save_account(self, directory: Path) -> None:
        self.state.save_to_json(str(directory / "trainer_state.json"))
        (directory / PROGRESS).write_text(json.dumps(self._progress()))
        self.save_more(directory)

    def save_more(self, directory: Path) -> None:
        """Write into a checkpoint what a kind of training needs beside weights, optimizer and random state."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        directory = Path(resume_from_checkpoint)
        if self.is_adapter:
            _load_adapter(self.model, directory / "adapter")
        else:
            tensors = load_file(directory / "model" / MODEL, device=str(self.model.device))
            self.model.load_state_dict(tensors, strict=False)
        self._take_progress(directory)

    def _take_progress(self, directory: Path) -> None:
        progress = self._read_progress(directory)
        self._total_train_tokens = progress["trained_tokens"]
        self.validations = [Validation(**one) for one in progress.get("validations", [])]

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
        if checkpoint is not None and zero_stage(self.context.execution.strategy):
            self._take_progress(
                Path(checkpoint)
            )  # DeepSpeed brings the weights back itself, without the rest

    def _read_progress(self, directory: Path) -> dict[str, Any]:
        progress: dict[str, Any] = json.loads((directory / PROGRESS).read_text())
        return progress

    def _progress(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the trainer's own state."""
        validations = [one.as_record() for one in self.validations]
        return {
            "trained_tokens": self.trained_tokens,
            **({"validations": validations} if validations else {}),
        }


class StageSftTrainer(StageTrainer, SFTTrainer):  # type: ignore[misc]
    """TRL's SFTTrainer on tokenized rows `input_ids`, `labels`."""


class StageDpoTrainer(StageTrainer, DPOTrainer):  # type: ignore[misc]
    """TRL's DPOTrainer on tokenized rows `prompt_ids`, `chosen_ids`, `rejected_ids`.

    With reference rows `ref_chosen_logps`, `ref_rejected_logps` nothing is precomputed here.
    """

    def use_reference_rows(self) -> None:
        """Take the reference from the rows: what TRL does after it has precomputed it."""
        for name in ("ref_chosen_logps", "ref_rejected_logps"):
            if name not in self.train_dataset[0]:
                raise ValueError(f"rows without {name}")
        self.precompute_ref_logps = True

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        """Reference rows come with the data."""
        return dataset


class PretrainTrainer(StageTrainer, Trainer):  # type: ignore[misc]
    """Transformers' Trainer on rows `input_ids`."""

    @property
    def trained_tokens(self) -> int:
        """Tokens seen so far, padding apart."""
        batch = self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps
        rows = self.state.global_step * batch * self.args.world_size
        if isinstance(self.train_dataset, OrderedRows):
            return self.train_dataset.tokens_in_first(rows)
        return sum(len(row["input_ids"]) for row in self.train_dataset[:rows])

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)


def sample_dataset(rows: Rows) -> Dataset:
    """One row in the type that TRL's constructors insist on; the rows themselves follow in `take`."""
    return Dataset.from_list([rows[0]])


def save_full_model(model: Any, directory: Path, tensors: dict[str, torch.Tensor] | None = None) -> None:
    """Write a full model (by default its own weights) as `from_pretrained` reads it; equal ones give equal bytes.

    A matrix that embedding and head share is written once, under its first name: safetensors' own way of leaving
    the other out writes its metadata in an order that differs from run to run.
    """
    save_file(
        _each_once(model.state_dict() if tensors is None else tensors),
        str(directory / MODEL),
        metadata={"format": "pt"},
    )
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(str(directory))
    model.generation_config.save_pretrained(str(directory))


def _each_once(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors without those that are another one under a second name."""
    places: dict[tuple[Any, ...], str] = {}
    for name, tensor in tensors.items():
        places.setdefault((tensor.data_ptr(), tensor.shape, tensor.stride()), name)
    return {name: tensors[name].contiguous() for name in places.values()}


def _load_adapter(model: Any, directory: Path) -> None:
    from peft import set_peft_model_state_dict

    outcome = set_peft_model_state_dict(model, load_adapter_tensors(directory), adapter_name=ADAPTER)
    if getattr(outcome, "unexpected_keys", None):
        raise ValueError(f"{directory}: unknown tensors {outcome.unexpected_keys[:3]}")
    trainable_in_fp32(model)


def padded_rows(features: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """A batch of sequences, shape (batch, longest): padding on the right, masked and without a label.

    Sequences of one length need no mask, and get none: attention is then plainly causal.
    """
    rows = [feature["input_ids"] for feature in features]
    if len({len(row) for row in rows}) == 1:
        ids = torch.stack(rows)
        return {"input_ids": ids, "labels": ids}
    ids = pad_sequence(rows, batch_first=True)
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}
