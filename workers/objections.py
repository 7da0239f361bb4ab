"""What an execution asks for that a stage cannot do: said when a plan is made, beside the setting that asks for it."""

from typing import Any

from workers import strategies
from workers.kinds import Kind
from workers.recipe import Execution

COMPILED = ("sft", "dpo", "reward", "pretrain")
"""Kinds whose trained model can be compiled."""
OFFLOADED = ("adamw_torch", "sgd")
"""Optimizers that also compute on a CPU."""


def ordinary(execution: Execution) -> bool:
    """Whether an execution asks for nothing that a stage could object to."""
    return (
        execution.strategy == "single"
        and execution.processes == 1
        and not execution.compile
        and execution.offload == "none"
    )


def objection(kind: Kind, recipe: Any, execution: Execution) -> tuple[str, str] | None:
    """The setting that a stage cannot follow and why, or None."""
    for setting, reason in (
        ("compile", _objection_to_compiling(kind, recipe, execution)),
        ("strategy", strategies.objection(kind, recipe, execution)),
        ("offload", _objection_to_offloading(recipe, execution)),
    ):
        if reason is not None:
            return setting, reason
    return None


def _objection_to_compiling(kind: Kind, recipe: Any, execution: Execution) -> str | None:
    if not execution.compile:
        return None
    if kind.name not in COMPILED:
        allowed = ", ".join(COMPILED[:-1])
        return f"a stage of kind {kind.name!r} is not compiled; `compile` is for {allowed} and {COMPILED[-1]}"
    quantization = getattr(recipe, "quantization", None)
    if quantization is not None and quantization.linear:
        return "torch cannot compile the quantized layers of a pre-training; `compile` goes with quantized moments only"
    if execution.strategy == "deepspeed-zero3":
        return (
            "'deepspeed-zero3' brings weights by hooks on every module, at each of which a compilation breaks; use "
            "'deepspeed-zero2' or 'ddp', or leave `compile` out"
        )
    return None


def _objection_to_offloading(recipe: Any, execution: Execution) -> str | None:
    strategy, offload = execution.strategy, execution.offload
    if offload == "none":
        return None
    if not strategy.startswith("deepspeed"):
        return (
            f"strategy {strategy!r} keeps everything where it computes; `offload: {offload}` is for 'deepspeed-zero2' "
            "(optimizer) and 'deepspeed-zero3' (optimizer, weights)"
        )
    if offload == "weights" and strategy != "deepspeed-zero3":
        return f"{strategy!r} keeps whole weights where it computes; use `offload: optimizer`, or 'deepspeed-zero3'"
    optimizer = recipe.training.optimizer
    if optimizer not in OFFLOADED:
        return f"optimizer {optimizer!r} computes on a GPU only; `offload` is for {' and '.join(OFFLOADED)}"
    return None
