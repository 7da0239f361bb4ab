"""Recipes cut short keep every size that a step's cost depends on."""

import pytest

from orchestrator.bench.shortening import DOCUMENTS, rows_needed, shortened
from tests.support.training import NF4, dpo_recipe, lora, pretrain_recipe, reference_recipe, sft_recipe, short
from workers.specs.analyze import AnalyzeRecipe
from workers.specs.data import ExpectedPairs, PreferenceData
from workers.specs.evaluate import Benchmark, EvaluateRecipe
from workers.specs.generate import GenerateRecipe, PromptSet
from workers.specs.online import GrpoRecipe
from workers.specs.ppo import PpoRecipe
from workers.specs.tokenize import Corpus, TokenizeRecipe

LONG = PreferenceData(samples=11_200, max_length=1536, expected_pairs=ExpectedPairs(harmless=5))


def test_a_training_takes_a_few_steps_of_its_own_size() -> None:
    given = sft_recipe(
        seed=3, adapter=lora(NF4), preferences=LONG, training=short(700, validation_steps=50), max_length=2048
    )
    found = shortened(given, steps=3, rows=12)
    assert found.training.steps == 3 and found.training.validation_steps is None
    assert found.preferences.samples == 12 and found.preferences.expected_pairs is None
    kept = {"seed", "model", "adapter", "template", "max_length", "mask_prompt", "threads"}
    assert found.model_dump(include=kept) == given.model_dump(include=kept)
    assert found.training.batch_size == given.training.batch_size


def test_rows_are_never_more_than_the_grid_has() -> None:
    assert shortened(dpo_recipe(), 3, 1000).preferences.samples == 40


def test_stages_that_share_rows_still_share_them() -> None:
    """A DPO run finds its pairs among those of its reference."""
    trained, reference = (shortened(one, 3, 12) for one in (dpo_recipe(), reference_recipe()))
    assert trained.preferences == reference.preferences


def test_one_batch_of_every_benchmark_and_prompt_set() -> None:
    evaluated = EvaluateRecipe(
        benchmarks=(Benchmark(task="mmlu"), Benchmark(task="bbh", limit=4, shots=3)), batch_size=8, step=700
    )
    found = shortened(evaluated, 3, 12)
    assert [one.limit for one in found.benchmarks] == [8, 4]
    assert found.benchmarks[1].shots == 3 and found.step is None
    prompts = GenerateRecipe(prompts=(PromptSet(name="a", limit=805),), batch_size=16)
    assert shortened(prompts, 3, 12).prompts[0].limit == 16


def test_a_step_of_ppo_stays_whole() -> None:
    given = PpoRecipe(preferences=LONG)
    found = shortened(given, 2, 512)
    assert found.training.steps == 2
    assert (found.rollout, found.training.repeats) == (given.rollout, given.training.repeats)


def test_corpora_and_analyses() -> None:
    assert shortened(TokenizeRecipe(), 3, 12).corpus.limit == DOCUMENTS
    assert shortened(TokenizeRecipe(corpus=Corpus(limit=7)), 3, 12).corpus.limit == 7
    found = shortened(AnalyzeRecipe(analyses=("measured_time",), step=5), 3, 12)
    assert (found.batches, found.repeats, found.step) == (1, 2, None)


@pytest.mark.parametrize(
    ("recipe", "rows"),
    [
        (pretrain_recipe(), 12),
        (PpoRecipe(preferences=LONG), 768),
        (GrpoRecipe(preferences=LONG, generation_batch_size=512), 1536),
        (EvaluateRecipe(batch_size=5), 15),
        (AnalyzeRecipe(batch_size=16), 48),
    ],
)
def test_the_rows_that_so_many_steps_take(recipe, rows: int) -> None:
    assert rows_needed(recipe, 3) == rows
