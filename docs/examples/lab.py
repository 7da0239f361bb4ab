"""A researcher's own module: preference data, a benchmark and a stage kind that Yates does not have."""

import random
from collections.abc import Iterator
from typing import Any

from safetensors.torch import load_file, save_file

from workers.context import StageContext, StageResult, metric
from workers.data.dialogues import Pair
from workers.evaluation.benchmark import Measurement
from workers.evaluation.candidate import Candidate
from workers.kinds import Kind
from workers.recipe import Recipe
from workers.specs.data import PreferenceData
from workers.specs.evaluate import Benchmark
from workers.specs.model import ModelRecipe

ANSWERS = ["yes .", "no .", "i can not say ."]


def short_answers(context: StageContext, data: PreferenceData, preference: str, split: str) -> Iterator[Pair]:
    """Preference pairs: a short answer is chosen, a rambling one rejected. Seeded, so equal on any machine."""
    generator = random.Random(f"short-answers/{split}")
    for number in range(200 if split == "train" else 40):
        answer = ANSWERS[int(generator.random() * len(ANSWERS))]
        yield Pair(f"question {number % 10} ?", answer, " ".join([answer] * 4))


def answer_length(benchmark: Benchmark, candidate: Candidate) -> Measurement:
    """The mean length of greedy answers to ten questions, in tokens."""
    prompts = candidate.encode([f"USER: question {number} ? ASSISTANT:" for number in range(10)])
    lengths = [len(completion.tokens) for completion in candidate.complete(prompts, benchmark.new_tokens)]
    mean = sum(lengths) / len(lengths)
    return Measurement(
        [metric("answer_length", mean, metric="tokens", n=len(lengths), unit="tokens", primary=True)]
    )


class PruneRecipe(Recipe):
    """Set the smallest `share` of each adapter tensor's entries to zero."""

    model: ModelRecipe = ModelRecipe()
    share: float = 0.5


def prune(recipe: PruneRecipe, context: StageContext) -> StageResult:
    """Read the adapter of the parent in role `trained`, prune it, and leave it as this stage's own."""
    parent = context.parent("trained")
    assert parent is not None
    source, target = parent.output / "adapter", context.output / "adapter"
    target.mkdir(parents=True)
    tensors = {
        name: _pruned(tensor, recipe.share)
        for name, tensor in load_file(source / "adapter_model.safetensors").items()
    }
    save_file(tensors, target / "adapter_model.safetensors", metadata={"format": "pt"})
    (target / "adapter_config.json").write_text((source / "adapter_config.json").read_text())
    zeros = sum(int((tensor == 0).sum()) for tensor in tensors.values())
    total = sum(tensor.numel() for tensor in tensors.values())
    return StageResult([metric("prune", zeros / total, metric="zeros", n=total, primary=True)])


def _pruned(tensor: Any, share: float) -> Any:
    threshold = tensor.abs().flatten().quantile(share)
    return tensor * (tensor.abs() > threshold)


PRUNE = Kind("prune", 1, PruneRecipe, "lab:prune", roles=("base", "trained"), reference="lab:PRUNE")
