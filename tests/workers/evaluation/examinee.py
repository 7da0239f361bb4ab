"""A tiny random model with the world's tokenizer, and the surroundings of an evaluation."""

from pathlib import Path
from typing import Any

import torch

from results.layout import Workspace
from workers.context import StageContext
from workers.evaluation.candidate import Candidate
from workers.kinds import find_kind
from workers.recipe import Execution
from workers.specs.data import DataSource, PreferenceData
from workers.specs.evaluate import Benchmark, EvaluateRecipe
from workers.specs.model import ModelRecipe
from workers.stage import Stage
from workers.world import WorldRecipe, world_directory

ASSETS = Path(__file__).resolve().parents[4] / "shared" / "assets"
WORLD = WorldRecipe(
    pretrain_rows=8,
    validation_rows=24,
    instruction_rows=8,
    preference_rows=8,
    preference_test_rows=24,
    generation_rows=12,
    reasoning_rows=6,
)
SOURCE = DataSource(world=WORLD)
HARMLESS = PreferenceData(preference="harmless", source=SOURCE)
HELPFUL = PreferenceData(preference="helpful", source=SOURCE)
EVERY_BENCHMARK = (
    Benchmark(task="mmlu", source=SOURCE, limit=24),
    Benchmark(task="bbh", source=SOURCE, limit=12, new_tokens=4),
    Benchmark(task="perplexity", source=SOURCE, limit=12),
    Benchmark(task="safety", source=SOURCE, limit=8, new_tokens=6),
    Benchmark(task="helpfulness", source=SOURCE, limit=8, new_tokens=6),
    Benchmark(task="preference_accuracy", preferences=(HARMLESS, HELPFUL), limit=12),
)


def write_model(directory: Path, cache: Path) -> Path:
    """Save a random model with the world's tokenizer; its logits are large enough to make clear choices."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(str(world_directory(cache, WORLD) / "tokenizer"))
    configuration = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
    )
    model = LlamaForCausalLM(configuration)
    for parameter in model.parameters():
        parameter.data.mul_(4.0)
    model.save_pretrained(str(directory))
    tokenizer.save_pretrained(str(directory))
    return directory


def make_context(
    root: Path, recipe: EvaluateRecipe, *, attempt: str = "attempt", **settings: Any
) -> StageContext:
    """The context of a first attempt; `settings` replace its fields."""
    stage = Stage.create(find_kind("evaluate"), recipe)
    directory = root / "attempts" / attempt
    fields: dict[str, Any] = {"parents": [], "execution": Execution(), **settings}
    return StageContext(workspace=Workspace(root), stage=stage, attempt=directory, **fields)


def make_recipe(model: Path, *benchmarks: Benchmark, **settings: Any) -> EvaluateRecipe:
    """A recipe for the model in a directory."""
    fields = {"batch_size": 5, "max_length": 128, **settings}
    return EvaluateRecipe(model=ModelRecipe(hub=str(model)), benchmarks=benchmarks, **fields)


def make_candidate(root: Path, model_directory: Path, loaded: tuple[Any, Any], **settings: Any) -> Candidate:
    """A candidate for a loaded (model, tokenizer)."""
    recipe = make_recipe(model_directory, *EVERY_BENCHMARK, **settings)
    return Candidate(*loaded, recipe, make_context(root, recipe))


def values(metrics: list[Any]) -> dict[tuple[str, str], Any]:
    """(task, metric) to value."""
    return {(row["task"], row["metric"]): row["value"] for row in metrics}
