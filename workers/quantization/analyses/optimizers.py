"""The optimizer that a training had, made anew for its weights."""

from typing import Any

import torch
from transformers import TrainingArguments

from workers.quantization.analyses.subject import Subject
from workers.specs.quantized import QuantizedTraining
from workers.training.arguments import trainer_arguments
from workers.training.quantized import optimizer_of
from workers.training.trainers import PretrainTrainer, padded_rows


def training_optimizer(subject: Subject, quantization: QuantizedTraining | None) -> torch.optim.Optimizer:
    """As the training's Trainer makes it, with the moments that `quantization` rounds; its states are empty."""
    recipe = subject.training.model_copy(update={"quantization": quantization})
    arguments = trainer_arguments(subject.context, recipe, recipe.training)
    trainer = PretrainTrainer(
        model=subject.model,
        args=TrainingArguments(**{**arguments, "report_to": []}),
        data_collator=padded_rows,
        optimizer_cls_and_kwargs=optimizer_of(subject.model, recipe),
    )
    found: torch.optim.Optimizer = trainer.create_optimizer()
    return found


def state_bytes(optimizer: Any, parameter: torch.nn.Parameter) -> int:
    """Bytes of the tensors that an optimizer keeps for a parameter."""
    held = _tensors(optimizer.state.get(parameter, {}))
    return sum(values.numel() * values.element_size() for values in held)


def _tensors(state: Any) -> list[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        return [state]
    inner = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return [values for each in inner for values in _tensors(each)]
