"""The expected seconds of one stage."""

from collections.abc import Sequence
from typing import Any

from orchestrator.cost.accelerators import CPU, Accelerator, accelerator_for
from orchestrator.cost.analysis import analysis_seconds
from orchestrator.cost.architecture import Architecture, own_model
from orchestrator.cost.inference import (
    evaluation_seconds,
    generation_seconds,
    judging_seconds,
    reference_seconds,
)
from orchestrator.cost.online import factuality_seconds, online_seconds
from orchestrator.cost.passes import Model
from orchestrator.cost.reinforcement import ppo_seconds
from orchestrator.cost.text import tokenize_seconds
from orchestrator.cost.training import training_seconds
from workers.kinds import Kind
from workers.recipe import Execution, Recipe, Resources
from workers.specs.model import LoraRecipe, ModelRecipe
from workers.specs.training import Training

Parents = Sequence[tuple[str, Recipe]]
"""Roles and recipes of a stage's parents."""

START_SECONDS = 0.1
"""What every stage costs a warm worker: claim, data, commit."""
TRAINER_SECONDS = 0.25
"""The set-up of a trainer, and of what it leaves."""
DISK_BANDWIDTH = 1e9
"""Bytes a second at which a model's files are read; a worker reads them once for all stages of a bundle."""
MERGE_BYTES = 80.0
"""What a merge reads and writes for each weight of each parent, in float32: factors, sum, trimming, signs, result."""
MERGE_SECONDS = 0.01
DEFAULT_SECONDS = 1.0
"""A stage of a kind that this model does not know."""
STEP_SECONDS = 0.025
"""A step of such a stage, where its recipe says `training.steps`."""


def carried_adapter(recipe: Any) -> LoraRecipe | None:
    """The adapter that a stage trains and leaves for its children to carry, or None."""
    adapter = getattr(recipe, "adapter", None)
    return adapter if isinstance(adapter, LoraRecipe) else None


def expected_seconds(
    kind: Kind,
    recipe: Recipe,
    *,
    architecture: Architecture,
    resources: Resources,
    execution: Execution | None = None,
    parents: Parents = (),
    accelerator: Accelerator | None = None,
) -> float:
    """The expected wall seconds of one stage on a model of `architecture`; `parents` are roles and recipes.

    `accelerator` replaces the one that `resources`
    imply: the smallest GPU type with their memory.
    """
    model = _model(recipe, architecture, parents)
    run = execution or Execution()
    computing = accelerator or accelerator_for(resources, recipe.threads * run.processes)
    sharing = max(resources.gpus, run.processes)
    return round(_seconds(kind.name, recipe, model, computing, run, sharing, parents), 3)


def _seconds(
    kind: str,
    recipe: Any,
    model: Model,
    accelerator: Accelerator,
    execution: Execution,
    gpus: float,
    parents: Parents,
) -> float:
    roles = tuple([role for role, _ in parents])
    if kind == "merge":
        return MERGE_SECONDS + _merging(model, max(1, roles.count("merged")))
    if kind == "tokenize":
        return START_SECONDS + tokenize_seconds(recipe)
    start = START_SECONDS + model.disk_bytes / DISK_BANDWIDTH
    if kind == "judge":
        answers = next((one for role, one in parents if role == "generations"), None)
        return start + judging_seconds(recipe, answers, model, accelerator, execution.service.concurrency)
    if kind == "factuality":
        answers = next((one for role, one in parents if role == "generations"), None)
        return start + factuality_seconds(recipe, answers, model, accelerator, execution.service.concurrency)
    if kind == "reference":
        return start + reference_seconds(recipe, model, accelerator)
    if kind == "evaluate":
        return start + evaluation_seconds(recipe, model, accelerator)
    if kind == "generate":
        return start + generation_seconds(recipe, model, accelerator)
    if kind == "analyze":
        training = next((one for role, one in parents if role == "trained"), None)
        return start + analysis_seconds(recipe, training, model, accelerator)
    if kind == "ppo":
        return start + ppo_seconds(recipe, model, accelerator, execution)
    if kind in ("rloo", "grpo"):
        return start + TRAINER_SECONDS + online_seconds(recipe, model, accelerator, execution)
    if isinstance(getattr(recipe, "training", None), Training):
        trained = training_seconds(recipe, model, accelerator, execution, gpus, roles)
        return start + TRAINER_SECONDS + trained
    steps = getattr(getattr(recipe, "training", None), "steps", 0)
    return DEFAULT_SECONDS + STEP_SECONDS * steps


def _model(recipe: Any, architecture: Architecture, parents: Parents) -> Model:
    """The model of a stage; one that reads a training's carries its adapter."""
    source = own_model(recipe) or ModelRecipe()
    adapter = next((carried_adapter(one) for role, one in parents if role == "trained"), None)
    quantization = getattr(recipe, "quantization", None)
    autocast = getattr(getattr(recipe, "training", None), "autocast", "none")
    stored = quantization if hasattr(quantization, "format") else None
    return Model.of(architecture, source, stored, carried_adapter(recipe) or adapter, autocast)


def _merging(model: Model, parents: int) -> float:
    return MERGE_BYTES * parents * model.shape.parameters / CPU.bandwidth
