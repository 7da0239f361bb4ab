"""From our `Training` settings to the arguments of transformers' and TRL's trainers."""

from typing import Any

from workers.context import StageContext
from workers.identity import derive_seed
from workers.models.loading import device_of
from workers.recipe import Execution, Recipe
from workers.specs.training import Training
from workers.training.deepspeed import deepspeed_config
from workers.training.trackers import run_name


def micro_batch(batch_size: int, wanted: int | None) -> int:
    """The largest divisor of the batch that is at most `wanted`, so that the effective batch stays exact."""
    limit = min(wanted or batch_size, batch_size)
    return next(size for size in range(limit, 0, -1) if batch_size % size == 0)


def trainer_arguments(context: StageContext, recipe: Recipe, training: Training) -> dict[str, Any]:
    """Keyword arguments that every kind of trainer shares.

    Every step is logged, so that no figure depends on where a window of steps was interrupted; saving is ours
    (`workers.training.callbacks`). Of several processes each takes an equal share of every batch.
    """
    share = training.batch_size // context.execution.processes
    micro = micro_batch(share, context.execution.micro_batch)
    device = device_of(context)
    return {
        "output_dir": str(context.checkpoints),
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": share // micro,
        "max_steps": training.steps,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": training.schedule,
        "warmup_steps": training.warmup_steps,
        "max_grad_norm": training.max_gradient_norm,
        "weight_decay": training.weight_decay,
        "optim": training.optimizer,
        "adam_beta1": training.beta1,
        "adam_beta2": training.beta2,
        "adam_epsilon": training.epsilon,
        "bf16": training.autocast == "bfloat16",
        "fp16": training.autocast == "float16",
        "seed": derive_seed(recipe.seed, "initialisation"),
        "use_cpu": device == "cpu",
        "dataloader_pin_memory": device != "cpu",
        "gradient_checkpointing": context.execution.gradient_checkpointing,
        "report_to": list(context.execution.report_to),
        "run_name": run_name(context),
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "remove_unused_columns": False,
        "disable_tqdm": True,
        **division_arguments(context.execution, training, micro, device),
    }


def division_arguments(execution: Execution, training: Training, micro: int, device: str) -> dict[str, Any]:
    """What several processes need beside: sums of gradients and tokens over all of them, and no needless search."""
    if execution.strategy == "single":
        return {}
    shared = {"average_tokens_across_devices": True, "ddp_backend": "gloo" if device == "cpu" else None}
    if execution.strategy == "ddp":
        return shared | {"ddp_find_unused_parameters": False}
    division = deepspeed_config(
        execution.strategy,
        training,
        micro_batch=micro,
        processes=execution.processes,
        offload=execution.offload,
        pinned=device != "cpu",
    )
    return shared | {"deepspeed": division, "bf16": False}
