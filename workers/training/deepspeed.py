"""The configuration of DeepSpeed that follows from a stage's plan (stages 2 and 3 of ZeRO, arXiv 1910.02054).

Weights that are trained stay in the precision of the recipe and autocast computes in bfloat16, as in one process:
DeepSpeed's own 16-bit mode would round the trained weights too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from workers.recipe import Offload, Strategy
from workers.specs.training import Training

BUCKET = 50_000_000
"""The most numbers of gradients that are summed together. DeepSpeed's default is ten times as many: it takes the whole
buffer whatever it holds, and as much again while it sums, 4 GB in float32 also for an adapter."""
PREFETCHED = 50_000_000
"""Stage 3: weights that are brought together before they are needed (DeepSpeed's default)."""
LIVE = 1_000_000_000
"""Stage 3: weights that are whole at a time (DeepSpeed's default)."""
STAGES: dict[Strategy, int] = {"deepspeed-zero2": 2, "deepspeed-zero3": 3}


def zero_stage(strategy: Strategy) -> int:
    """The stage of ZeRO of a strategy, 0 of one without DeepSpeed."""
    return STAGES.get(strategy, 0)


def deepspeed_config(
    strategy: Strategy,
    training: Training,
    *,
    micro_batch: int,
    processes: int,
    offload: Offload = "none",
    pinned: bool = False,
) -> dict[str, Any]:
    """The configuration: `processes` times `micro_batch` times accumulation is the recipe's batch.

    `offload` moves to the CPU what it names, `pinned` in memory that a GPU reads directly; the optimizer stays torch's
    own, so its arithmetic is that of one process. Stage 3 keeps no small weights whole everywhere, because DeepSpeed
    can gather them only where all have one type, and adapters are in fp32 on bases in 16 bits.

    Raises:
        ValueError: the strategy is not DeepSpeed's, or the batch cannot be divided.
    """
    stage = zero_stage(strategy)
    if not stage or training.batch_size % (micro_batch * processes):
        raise ValueError(f"no DeepSpeed of {strategy!r} with {processes} times {micro_batch} rows")
    optimization: dict[str, Any] = {"stage": stage, "contiguous_gradients": True, "overlap_comm": False}
    if stage == 3:
        optimization |= {
            "stage3_gather_16bit_weights_on_model_save": True,
            "stage3_param_persistence_threshold": 0,
            "stage3_prefetch_bucket_size": PREFETCHED,
            "stage3_max_live_parameters": LIVE,
            "stage3_max_reuse_distance": LIVE,
        }
    return {
        "train_batch_size": training.batch_size,
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": training.batch_size // (micro_batch * processes),
        "gradient_clipping": training.max_gradient_norm,
        "zero_optimization": optimization | _offloading(offload, pinned),
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        **_precision(training),
    }


def _offloading(offload: Offload, pinned: bool) -> dict[str, Any]:
    if offload == "none":
        return {}
    host = {"device": "cpu", "pin_memory": pinned}
    return {"offload_optimizer": host} | ({"offload_param": host} if offload == "weights" else {})


def _precision(training: Training) -> dict[str, Any]:
    """Autocast as PyTorch has it; sums over processes stay in the precision of the weights."""
    if training.autocast == "none":
        return {}
    return {
        "torch_autocast": {
            "enabled": True,
            "dtype": training.autocast,
            "lower_precision_safe_modules": [],
        }
    }


def elements(parameter: Any) -> int:
    """How many numbers a weight holds, also one that is divided among processes."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def trained_elements(model: Any) -> int:
    """How many numbers of a model are trained."""
    return sum(elements(each) for each in model.parameters() if each.requires_grad)


def fit_buckets(trainer: Any) -> None:
    """Make the buffer of gradients no larger than all that is trained."""
    settings = trainer.accelerator.state.deepspeed_plugin.deepspeed_config
    settings["zero_optimization"]["reduce_bucket_size"] = min(BUCKET, trained_elements(trainer.model))


@contextmanager
def whole_adapter(model: Any, strategy: Strategy) -> Iterator[None]:
    """Within it every trained weight of an adapter is whole in every process; all of them enter together."""
    if zero_stage(strategy) < 3:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters([each for each in model.parameters() if each.requires_grad]):
        yield


def whole_tensors(trainer: Any, strategy: Strategy) -> dict[str, Any]:
    """The weights of a full model by name, each whole; on stage 3 in the first process alone, on the CPU.

    On stage 3 all processes call it together, and one layer after another is gathered.
    """
    if zero_stage(strategy) < 3:
        return dict(trainer.model.state_dict())
    return dict(trainer.accelerator.get_state_dict(trainer.model_wrapped) or {})


def whole_again() -> None:
    """Let models that are loaded from now on be whole in this process: transformers divides them while stage 3 runs."""
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()
