"""Expected seconds of a stage: measured attempts of like stages when there are any, else its operations.

The model counts 2 operations per parameter and token forward, 4 backward (2 when the weights are frozen), and
a fixed part per step and per stage. It is meant for balancing bundles and for GPU-hours within a factor of
about two.
"""

from collections.abc import Mapping
from typing import Any

from workers.kinds import Kind
from workers.recipe import Recipe, Resources
from workers.specs.model import ModelRecipe, ModelShape

CPU_FLOPS = 6e10
"""Sustained operations per second of one CPU thread on small matrices."""
GPU_FLOPS = 8e13
"""Sustained operations per second of one GPU of the A100's class in bfloat16."""
STAGE_SECONDS = 0.8
STEP_SECONDS = {True: 0.05, False: 0.025}
"""Overhead of one optimizer step on a GPU with a large model, and on a CPU."""
TYPICAL_TOKENS = 300
"""Tokens of a typical row of the studies' data, and at most half of the longest allowed."""
FALLBACK_PARAMETERS = 1e8
VOCABULARY = 256
EVALUATION_ITEMS = {"mmlu": 14_042, "bbh": 6_511, "preference_accuracy": 2_000}
DEFAULT_ITEMS = 500

PARAMETERS = {
    "llama-7b": 6.7e9,
    "vicuna-7b": 6.7e9,
    "mistral-7b": 7.2e9,
    "stories260k": 2.6e5,
    "smollm2-135m": 1.35e8,
}
"""Known sizes by a part of the hub id, in lower case."""


def like_stages(kind: str, name: str) -> str:
    """The key under which the measured seconds of like stages are given: kind and pipeline stage."""
    return f"{kind}/{name}"


def expected_seconds(
    kind: Kind,
    name: str,
    recipe: Recipe,
    *,
    parameters: float,
    resources: Resources,
    roles: tuple[str, ...] = (),
    measured: Mapping[str, float] | None = None,
) -> float:
    """The expected core- or GPU-seconds of one stage on a model with `parameters` and parents in `roles`."""
    known = (measured or {}).get(like_stages(kind.name, name))
    if known is not None:
        return known
    speed = GPU_FLOPS * resources.gpus if resources.gpus else CPU_FLOPS * recipe.threads
    training = getattr(recipe, "training", None)
    steps = training.steps * STEP_SECONDS[resources.gpus > 0] if training is not None else 0.0
    return round(STAGE_SECONDS + steps + _operations(kind.name, recipe, parameters, roles) / speed, 3)


def model_parameters(recipe: Any) -> float | None:
    """The number of parameters of the model that a recipe names, or None when it names none that is known."""
    model = getattr(recipe, "model", None)
    if not isinstance(model, ModelRecipe):
        return None
    if model.shape is not None:
        return _shape_parameters(model.shape)
    hub = (model.hub or "").lower()
    return next((size for part, size in PARAMETERS.items() if part in hub), None)


def _shape_parameters(shape: ModelShape) -> float:
    head = shape.hidden_size // shape.heads
    attention = 2 * shape.hidden_size**2 + 2 * shape.hidden_size * head * shape.key_value_heads
    layer = attention + 3 * shape.hidden_size * shape.intermediate_size
    embeddings = VOCABULARY * shape.hidden_size * (1 if shape.tie_embeddings else 2)
    return float(shape.layers * layer + embeddings)


def _operations(kind: str, recipe: Any, parameters: float, roles: tuple[str, ...]) -> float:
    if kind == "merge":
        return 100.0 * parameters * max(1, roles.count("merged"))
    training = getattr(recipe, "training", None)
    if training is not None:
        rows = training.steps * training.batch_size
        return float(rows) * _row_tokens(recipe) * parameters * _passes(recipe, roles)
    preferences = getattr(recipe, "preferences", None)
    if preferences is not None:
        pairs = float(preferences.samples or DEFAULT_ITEMS)
        return 4.0 * pairs * _row_tokens(recipe) * parameters
    return _evaluation_tokens(recipe) * parameters * 2.0


def _passes(recipe: Any, roles: tuple[str, ...]) -> float:
    """Operations per parameter and token: forward, backward; of pairs both sides, perhaps the reference."""
    frozen = getattr(recipe, "adapter", None) is not None
    one_side = 4.0 if frozen else 6.0
    if not hasattr(recipe, "beta"):
        return one_side
    return 2.0 * (one_side + (0.0 if "reference" in roles else 2.0))


def _row_tokens(recipe: Any) -> float:
    data = getattr(recipe, "data", None)
    if data is not None and hasattr(data, "block"):
        return float(data.block)
    preferences = getattr(recipe, "preferences", None)
    longest = (
        preferences.max_length if preferences is not None else getattr(recipe, "max_length", TYPICAL_TOKENS)
    )
    return _typical(longest)


def _evaluation_tokens(recipe: Any) -> float:
    tokens = 0.0
    row = _typical(getattr(recipe, "max_length", 2 * TYPICAL_TOKENS))
    for benchmark in getattr(recipe, "benchmarks", ()):
        items = benchmark.limit or EVALUATION_ITEMS.get(benchmark.task, DEFAULT_ITEMS)
        pairs = sum(part.samples or items for part in benchmark.preferences)
        tokens += (2 * pairs if benchmark.preferences else items) * (row + benchmark.new_tokens)
    return tokens


def _typical(longest: float) -> float:
    return min(longest / 2, float(TYPICAL_TOKENS))
