"""The memory of one stage, from its recipe, its model's shape and its execution."""

from collections.abc import Sequence
from typing import Any

from orchestrator.cost.architecture import Architecture, own_model
from orchestrator.cost.memory.device import CPU, GPU, Device
from orchestrator.cost.memory.division import Division
from orchestrator.cost.memory.footprint import Footprint, highest
from orchestrator.cost.memory.heads import fused_head, whole_logits
from orchestrator.cost.memory.held import Head, Held
from orchestrator.cost.memory.inference import compared, generated, read
from orchestrator.cost.memory.layers import Rows
from orchestrator.cost.memory.online import online_footprint
from orchestrator.cost.memory.reinforcement import ppo_footprint
from orchestrator.cost.memory.steps import Step
from workers.recipe import Execution, Recipe, Resources
from workers.specs.model import LoraRecipe, ModelRecipe

Parents = Sequence[tuple[str, Recipe]]
"""Roles and recipes of a stage's parents."""

TRAINED = ("sft", "dpo", "pretrain", "reward")
ONLINE = ("rloo", "grpo")
PAIRED = ("dpo", "reward")
"""Kinds that read two sequences for each row of their batch."""
FRESH_DROPOUT = 0.1
"""Dropout of a GPT-2 that is made from scratch, where its shape names none."""
ANSWER = 4.0
"""Positions of a row that a scored continuation needs, but for whole texts."""


def stage_footprint(
    kind: str,
    recipe: Any,
    architecture: Architecture,
    resources: Resources,
    execution: Execution | None = None,
    parents: Parents = (),
) -> Footprint | None:
    """Bytes of live tensors at a stage's highest moment; None for a kind that this model does not know.

    Every row of the largest micro-batch is taken to be as long as the recipe allows: that is what a batch is padded
    to which holds one such row. Of several processes it is one.
    """
    run = execution or Execution()
    device = GPU if resources.gpus else CPU
    if kind in TRAINED:
        return training_step(kind, recipe, architecture, device, run, parents).footprint
    if kind == "ppo":
        return ppo_footprint(recipe, architecture, device, run.micro_batch, run.gradient_checkpointing)
    if kind in ONLINE:
        micro = largest_part(recipe.training.batch_size, run.micro_batch)
        return online_footprint(recipe, architecture, device, run, micro)
    if kind in ("reference", "evaluate", "generate", "judge"):
        return _asked(kind, recipe, architecture, device, run, parents)
    return None


def training_step(
    kind: str,
    recipe: Any,
    architecture: Architecture,
    device: Device,
    execution: Execution,
    parents: Parents = (),
) -> Step:
    """The largest step of an `sft`, `dpo`, `pretrain` or `reward` stage."""
    held = trained_model(kind, recipe, architecture)
    training = recipe.training
    batch = training.batch_size // execution.processes
    micro = largest_part(batch, execution.micro_batch)
    rows = Rows(micro * (2 if kind in PAIRED else 1), longest(kind, recipe), padded=kind != "pretrain")
    return Step(
        held,
        rows,
        device,
        execution.gradient_checkpointing,
        training.optimizer,
        batch // micro,
        _logits(kind, recipe, held, rows, device, execution.chunked_loss),
        division=Division.of(execution, device),
    )


def trained_model(kind: str, recipe: Any, architecture: Architecture) -> Held:
    """The model that a training stage moves, or puts an adapter on."""
    adapter = getattr(recipe, "adapter", None)
    head: Head = "score" if kind == "reward" else "language"
    return Held.of(
        architecture,
        recipe.model,
        adapter=adapter,
        trained=adapter is None,
        autocast=recipe.training.autocast,
        dropout=_dropout(recipe.model) if kind == "pretrain" else 0.0,
        head=head,
        rounding=getattr(recipe, "quantization", None) if kind == "pretrain" else None,
    )


def longest(kind: str, recipe: Any) -> float:
    """The most tokens of a row."""
    if kind == "pretrain":
        return float(recipe.data.block)
    if kind == "sft":
        return float(recipe.max_length)
    return float(recipe.preferences.max_length)


def largest_part(batch: int, wanted: int | None) -> int:
    """The largest divisor of a batch that is at most `wanted`: what training makes of a micro-batch."""
    limit = min(wanted or batch, batch)
    return next(size for size in range(limit, 0, -1) if batch % size == 0)


def _dropout(model: ModelRecipe) -> float:
    shape = model.shape
    if shape is None or shape.architecture != "gpt2":
        return 0.0
    return FRESH_DROPOUT if shape.dropout is None else shape.dropout


def _logits(kind: str, recipe: Any, held: Held, rows: Rows, device: Device, chunked: bool) -> float:
    if kind == "reward":
        return 0.0
    if kind != "pretrain":
        return fused_head(held, rows.tokens, device)
    if chunked and recipe.plain_head:
        return fused_head(held, rows.tokens, device, device.chunk_words)
    return whole_logits(held, rows.tokens)


def _asked(
    kind: str, recipe: Any, architecture: Architecture, device: Device, execution: Execution, parents: Parents
) -> Footprint | None:
    """A stage that only reads weights; None for a judge without a model of its own."""
    model = own_model(recipe)
    if model is None or (kind == "judge" and model.hub is None and model.shape is None):
        return None if kind == "judge" else Footprint()
    held = Held.of(
        architecture, model, storage=getattr(recipe, "quantization", None), adapter=_carried(parents)
    )
    if kind == "reference":
        pairs = Rows(2.0 * recipe.batch_size, float(recipe.preferences.max_length), padded=True)
        return compared(held, pairs, device)
    count = float(min(execution.micro_batch or recipe.batch_size, recipe.batch_size))
    length = float(min(recipe.max_length, architecture.positions or recipe.max_length))
    loaded = Footprint(weights=held.weights)
    if kind == "generate":
        beside = _chooser(recipe, architecture)
        return highest(
            loaded, *[_answered(held, count, length, one, device, beside) for one in recipe.prompts]
        )
    if kind == "judge":
        return read(held, Rows(count, length, padded=True), device, ANSWER)
    return highest(loaded, *[_measured(held, count, length, one, device) for one in recipe.benchmarks])


def _chooser(recipe: Any, architecture: Architecture) -> float:
    """Bytes of the reward model that chooses among several answers."""
    return Held.of(architecture, recipe.model, head="score").weights if recipe.best_of > 1 else 0.0


def _answered(
    held: Held, count: float, length: float, prompts: Any, device: Device, others: float = 0.0
) -> Footprint:
    new = float(prompts.new_tokens)
    return generated(held, Rows(count, max(1.0, length - new), padded=True), device, new, others)


def _measured(held: Held, count: float, length: float, benchmark: Any, device: Device) -> Footprint:
    """A benchmark: whole texts and answers of pairs need logits of many positions, choices of few."""
    if benchmark.task in ("bbh", "safety"):
        return _answered(held, count, length, benchmark, device)
    many = benchmark.task == "perplexity" or benchmark.preferences
    return read(held, Rows(count, length), device, length if many else ANSWER)


def _carried(parents: Parents) -> LoraRecipe | None:
    """The adapter that the model under examination carries."""
    adapters = (getattr(recipe, "adapter", None) for role, recipe in parents if role == "trained")
    return next((one for one in adapters if isinstance(one, LoraRecipe)), None)
