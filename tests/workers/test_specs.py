"""The recipes of the built-in kinds, as grids and users meet them."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from workers.identity import recipe_digest
from workers.kinds import BUILT_IN, find_kind
from workers.recipe import Recipe, Settings, non_default
from workers.specs.data import DataSource, PreferenceData, Template, TextData
from workers.specs.dpo import DpoRecipe
from workers.specs.evaluate import Benchmark, EvaluateRecipe
from workers.specs.merge import MergeRecipe
from workers.specs.model import LLAMA_PROJECTIONS, LoraRecipe, ModelRecipe, ModelShape, QuantizationRecipe
from workers.specs.pretrain import PretrainRecipe
from workers.specs.sft import SftRecipe
from workers.specs.training import Training
from workers.world import WorldRecipe

ROOT = Path(__file__).parents[2]
KINDS = sorted(BUILT_IN)
SHAPES = st.none() | st.builds(ModelShape, layers=st.integers(1, 3), heads=st.sampled_from([2, 4]))
MODELS = st.builds(
    ModelRecipe,
    hub=st.sampled_from([None, "org/model", "./model"]),
    digest=st.sampled_from([None, "d1", "d2"]),
    shape=SHAPES,
    dtype=st.sampled_from(["float32", "bfloat16"]),
)
SOURCES = st.builds(
    DataSource,
    world=st.none() | st.builds(WorldRecipe),
    hub=st.sampled_from([None, "org/data"]),
    files=st.sampled_from([(), ("a.jsonl",), ("a.jsonl", "b.jsonl")]),
)
QUANTIZATIONS = st.none() | st.builds(QuantizationRecipe, format=st.sampled_from(["nf4", "fp4", "int8"]))
LORAS = st.builds(LoraRecipe, rank=st.sampled_from([4, 16]), quantization=QUANTIZATIONS)
TRAININGS = st.builds(Training, steps=st.integers(1, 3), learning_rate=st.sampled_from([2e-4, 1e-5]))
PREFERENCES = st.builds(PreferenceData, source=SOURCES, samples=st.sampled_from([None, 100]))
BENCHMARKS = st.builds(Benchmark, task=st.sampled_from(["mmlu", "bbh"]), limit=st.sampled_from([None, 8]))
SEEDS = st.integers(0, 2)
RECIPES = st.one_of(
    st.builds(
        PretrainRecipe, seed=SEEDS, model=MODELS, data=st.builds(TextData, source=SOURCES), training=TRAININGS
    ),
    st.builds(
        SftRecipe, seed=SEEDS, model=MODELS, adapter=st.none() | LORAS, preferences=st.none() | PREFERENCES
    ),
    st.builds(
        DpoRecipe, seed=SEEDS, adapter=LORAS, preferences=PREFERENCES, beta=st.sampled_from([0.1, 0.5])
    ),
    st.builds(MergeRecipe, seed=SEEDS, model=MODELS, weights=st.sampled_from([(), (0.5, 0.5), (1.0,)])),
    st.builds(
        EvaluateRecipe, model=MODELS, quantization=QUANTIZATIONS, benchmarks=st.lists(BENCHMARKS, max_size=2)
    ),
)


@given(RECIPES)
def test_what_is_hashed_of_a_recipe_rebuilds_it(recipe: Recipe) -> None:
    """So no two recipes of a kind can share a digest: the hashed part leaves nothing out."""
    assert type(recipe).model_validate(non_default(recipe)) == recipe


@given(RECIPES)
def test_a_recipe_survives_its_file(recipe: Recipe) -> None:
    again = type(recipe).model_validate_json(recipe.model_dump_json())
    assert again == recipe
    assert recipe_digest(again) == recipe_digest(recipe)


@settings(max_examples=200)
@given(RECIPES, RECIPES)
def test_recipes_of_one_kind_share_a_digest_only_when_they_are_equal(left: Recipe, right: Recipe) -> None:
    if type(left) is type(right):
        equal = left.model_copy(update={"seed": 0}) == right.model_copy(update={"seed": 0})
        assert (recipe_digest(left) == recipe_digest(right)) == equal


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_recipe_hashes_as_nothing(kind: str) -> None:
    recipe = find_kind(kind).recipe
    assert non_default(recipe()) == {}
    assert non_default(recipe(**recipe().model_dump())) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_every_recipe_has_its_seed_and_threads(kind: str) -> None:
    recipe = find_kind(kind).recipe(seed=3, threads=2)
    assert non_default(recipe) == {"seed": 3, "threads": 2}


@pytest.mark.parametrize("kind", KINDS)
def test_a_misspelt_setting_is_refused_at_every_depth(kind: str) -> None:
    recipe = find_kind(kind).recipe
    with pytest.raises(ValidationError, match="learning_rat"):
        recipe(learning_rat=1)
    for name, value in recipe():
        if isinstance(value, Settings):
            with pytest.raises(ValidationError, match="mispelt"):
                recipe(**{name: {"mispelt": 1}})


def test_a_quantized_base_that_is_all_defaults_is_not_an_unquantized_one() -> None:
    plain, quantized = LoraRecipe(), LoraRecipe(quantization=QuantizationRecipe())
    assert recipe_digest(DpoRecipe(adapter=plain)) != recipe_digest(DpoRecipe(adapter=quantized))
    assert recipe_digest(SftRecipe()) != recipe_digest(SftRecipe(adapter=plain))


def test_a_moved_branch_or_another_directory_is_another_model() -> None:
    found = [
        ModelRecipe(hub="org/model"),
        ModelRecipe(hub="org/model", revision="abc"),
        ModelRecipe(hub="org/model", revision="abc", digest="1"),
        ModelRecipe(hub="org/model", revision="abc", digest="2"),
    ]
    assert len({recipe_digest(DpoRecipe(model=model)) for model in found}) == len(found)


def test_the_order_of_a_merges_weights_and_of_benchmarks_counts() -> None:
    assert recipe_digest(MergeRecipe(weights=(0.2, 0.8))) != recipe_digest(MergeRecipe(weights=(0.8, 0.2)))
    first, second = Benchmark(task="mmlu"), Benchmark(task="bbh")
    forth, back = EvaluateRecipe(benchmarks=(first, second)), EvaluateRecipe(benchmarks=(second, first))
    assert recipe_digest(forth) != recipe_digest(back)


def test_lists_of_yaml_become_tuples_with_the_same_hash() -> None:
    written = LoraRecipe.model_validate({"target_modules": list(LLAMA_PROJECTIONS)})
    assert written == LoraRecipe()
    assert non_default(MergeRecipe.model_validate({"weights": [1, 0]})) == non_default(
        MergeRecipe(weights=(1.0, 0.0))
    )


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        (Training, {"steps": 0}),
        (Training, {"batch_size": 0}),
        (Training, {"learning_rate": 0.0}),
        (Training, {"beta2": 1.0}),
        (Training, {"divergence": 1.0}),
        (Training, {"schedule": "polynomial"}),
        (Training, {"optimizer": "lion"}),
        (LoraRecipe, {"rank": 0}),
        (LoraRecipe, {"dropout": 1.0}),
        (QuantizationRecipe, {"format": "int4"}),
        (ModelRecipe, {"dtype": "float64"}),
        (ModelShape, {"layers": 0}),
        (DpoRecipe, {"beta": 0.0}),
        (MergeRecipe, {"interpolation": 1.1}),
        (MergeRecipe, {"density": 0.0}),
        (MergeRecipe, {"method": "ties"}),
        (PreferenceData, {"preference": "harmful"}),
        (PreferenceData, {"held_out": 1.0}),
        (PreferenceData, {"samples": 0}),
        (TextData, {"block": 1}),
        (Template, {"multi_turn": "first"}),
        (EvaluateRecipe, {"step": 0}),
        (Benchmark, {"task": "mmlu", "limit": 0}),
    ],
)
def test_a_value_that_means_nothing_is_refused(model: type[Settings], wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=list(wrong)[-1]):
        model(**wrong)


def test_the_specs_import_no_trainer() -> None:
    modules = ", ".join(
        f"workers.specs.{path.stem}" for path in (ROOT / "workers" / "specs").glob("[a-z]*.py")
    )
    code = f"import sys, {modules}; print({{'torch', 'transformers', 'trl', 'datasets', 'numpy'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
