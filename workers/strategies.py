"""Several processes for one stage: what is refused when a plan is made, and which checkpoints go with which.

`ddp` keeps a copy of everything in every process and averages gradients (PyTorch's DistributedDataParallel);
`deepspeed-zero2` divides optimizer states and gradients among the processes, `deepspeed-zero3` the weights too
(Rajbhandari et al., arXiv 1910.02054). This module is light: planner and supervisor use it.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results.files import WorkspaceError, read_json_or_none
from workers.kinds import Kind
from workers.recipe import Execution, Resources, Strategy

WHOLE = "whole"
"""The layout of checkpoints that hold every tensor whole: one process and `ddp` read each other's."""


def with_processes(execution: Execution, resources: Resources) -> Execution:
    """The execution with one process for each GPU of the stage; without GPUs as it is.

    Raises:
        ValueError: the two contradict each other.
    """
    if execution.strategy == "single":
        if execution.processes > 1:
            raise ValueError(f"`processes: {execution.processes}` needs a `strategy` such as 'ddp'")
        return execution
    if not resources.gpus or execution.device == "cpu":
        return execution
    gpus = int(resources.gpus)
    if gpus != resources.gpus:
        raise ValueError(f"strategy {execution.strategy!r} needs whole GPUs, not `gpus: {resources.gpus:g}`")
    if execution.processes not in (1, gpus):
        raise ValueError(
            f"`processes: {execution.processes}` and `gpus: {gpus}` differ; there is one process for each GPU, "
            "so `processes` can be left out"
        )
    return execution.model_copy(update={"processes": gpus})


def objection(kind: Kind, recipe: Any, execution: Execution) -> str | None:
    """Why a stage cannot run as `execution.processes` processes, or None."""
    if execution.strategy == "single":
        return None
    strategy = execution.strategy
    if not kind.distributed:
        return f"a stage of kind {kind.name!r} runs as one process; leave its `strategy` at 'single'"
    batch = recipe.training.batch_size
    if batch % execution.processes:
        return f"{execution.processes} processes cannot share `batch_size: {batch}` evenly"
    if strategy.startswith("deepspeed"):
        return _objection_to_deepspeed(kind, recipe, execution)
    return _objection_to_shares(recipe, execution)


def _objection_to_deepspeed(kind: Kind, recipe: Any, execution: Execution) -> str | None:
    strategy, training = execution.strategy, recipe.training
    if training.autocast == "float16":
        return f"strategy {strategy!r} computes in float32 or bfloat16; set `autocast` to one of them or use 'ddp'"
    if getattr(recipe, "quantization", None) is not None:
        return f"strategy {strategy!r} does not keep the rounding of a quantized training; use 'ddp'"
    adapter = getattr(recipe, "adapter", None)
    if strategy == "deepspeed-zero3" and adapter is not None and adapter.quantization is not None:
        return (
            "'deepspeed-zero3' cannot divide the weights of a base in 4 or 8 bits (QLoRA); use 'deepspeed-zero2' "
            "or 'ddp'"
        )
    if strategy == "deepspeed-zero3" and adapter is not None and kind.name == "reward":
        return "'deepspeed-zero3' cannot merge a reward model's adapter into its base; use 'deepspeed-zero2' or 'ddp'"
    scored = training.validation_steps is not None and kind.name != "pretrain"
    if strategy == "deepspeed-zero3" and scored:
        return "'deepspeed-zero3' scores no answers on the way (`validation_steps`); use 'deepspeed-zero2' or 'ddp'"
    return None


def lacking(strategy: Strategy) -> str | None:
    """What must be installed where the stage computes, or None; a plan may be made elsewhere."""
    if strategy.startswith("deepspeed") and importlib.util.find_spec("deepspeed") is None:
        return f"strategy {strategy!r} needs DeepSpeed: pip install 'yates[deepspeed]'"
    return None


def _objection_to_shares(recipe: Any, execution: Execution) -> str | None:
    """Rounding whose scales or draws depend on which rows are together cannot give the numbers of one process."""
    settings = getattr(recipe, "quantization", None)
    if settings is None or execution.processes == 1:
        return None
    for name in ("weights", "activations", "gradients"):
        quantizer = getattr(settings, name)
        if quantizer is None:
            continue
        if quantizer.rounding == "stochastic":
            return f"stochastic rounding of {name} would draw otherwise in {execution.processes} processes"
        if name != "weights" and quantizer.axis in ("tensor", "column"):
            return (
                f"{name} that share a scale across tokens depend on the batch, which {execution.processes} "
                "processes divide"
            )
    return None


def layout(execution: Mapping[str, Any]) -> str:
    """What the files of a checkpoint depend on, of an attempt's `execution`; older records name no strategy."""
    strategy = str(execution.get("strategy", "single"))
    if strategy.startswith("deepspeed"):
        return f"{strategy} in {execution.get('processes', 1)}"
    return WHOLE


def division(execution: Execution) -> dict[str, Any]:
    """What a fingerprint says of the division of the work: it changes the order of sums, and dropout's masks."""
    if execution.strategy == "single":
        return {}
    return {"strategy": execution.strategy, "processes": execution.processes}


def suits(checkpoint: Path, execution: Execution) -> bool:
    """Whether a run under `execution` can go on from `checkpoint`: its attempt had the same layout."""
    try:
        record = read_json_or_none(checkpoint.parent.parent / "attempt.json") or {}
    except WorkspaceError:
        record = {}
    return layout(record.get("execution") or {}) == layout(execution.model_dump())
