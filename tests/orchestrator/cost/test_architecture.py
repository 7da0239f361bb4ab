"""Shapes of models: published sizes, `config.json`, and what a recipe names."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cost.architecture import (
    FALLBACK,
    GPT2_SMALL,
    KNOWN,
    LLAMA_7B,
    MISTRAL_7B,
    SMOLLM2_135M,
    STORIES_260K,
    Architecture,
    Architectures,
    architecture_of,
    brings_model,
    of_config,
)
from orchestrator.grid import load_grid
from orchestrator.hub import Hub
from orchestrator.plan import plan_grid
from tests.orchestrator.cost.measured_lengths import real_assets
from tests.orchestrator.cost.published import GRID
from workers.kinds import find_kind
from workers.specs.model import LLAMA_PROJECTIONS, ModelRecipe


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        (LLAMA_7B, 6.738e9),
        (MISTRAL_7B, 7.242e9),
        (GPT2_SMALL, 1.244e8),
        (SMOLLM2_135M, 1.345e8),
        (STORIES_260K, 260_032),
    ],
)
def test_known_shapes_have_the_published_number_of_parameters(shape: Architecture, parameters: float) -> None:
    assert shape.parameters == pytest.approx(parameters, rel=0.005)


@pytest.mark.parametrize(
    ("modules", "rank", "llama", "mistral"),
    [(("q_proj", "v_proj"), 64, 33_554_432, 27_262_976), (LLAMA_PROJECTIONS, 16, 39_976_960, 41_943_040)],
)
def test_adapters_have_the_trainable_parameters_of_the_alignment_study(
    modules: tuple[str, ...], rank: int, llama: int, mistral: int
) -> None:
    """Section 4.1."""
    for shape, expected in ((LLAMA_7B, llama), (MISTRAL_7B, mistral)):
        sizes = shape.targets(modules)
        assert shape.layers * sum(rank * (inputs + outputs) for inputs, outputs in sizes) == expected


def test_an_adapter_of_gpt2_names_its_fused_modules() -> None:
    assert GPT2_SMALL.targets(("c_attn",)) == [(768, 2304)]
    assert len(GPT2_SMALL.targets(("c_proj",))) == 2, "both the attention's and the feed-forward part's"


LLAMA_CONFIG = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "intermediate_size": 11_008,
    "vocab_size": 32_000,
}
GPT2_CONFIG = {"n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50_257, "n_positions": 1024}


def test_a_config_gives_the_shape() -> None:
    assert of_config(LLAMA_CONFIG) == LLAMA_7B
    assert of_config({**LLAMA_CONFIG, "intermediate_size": 14_336, "num_key_value_heads": 8}) == MISTRAL_7B
    assert of_config(GPT2_CONFIG) == GPT2_SMALL
    wide = of_config({**LLAMA_CONFIG, "head_dim": 256, "tie_word_embeddings": True})
    assert (wide.head_size, wide.tied) == (256, True)


def test_a_real_config_gives_the_known_shape() -> None:
    path = real_assets() / "models" / "stories260K-hf" / "config.json"
    assert of_config(json.loads(path.read_text())) == STORIES_260K


def named(hub: str | None) -> Any:
    return find_kind("sft").recipe.model_validate({"model": {"hub": hub}})


def test_a_config_at_hand_comes_before_the_known_shape(tmp_path: Path) -> None:
    recipe = named("huggyllama/llama-7b")
    assert architecture_of(recipe, lambda model: tmp_path) == LLAMA_7B, "there is no config.json yet"
    (tmp_path / "config.json").write_text(json.dumps(GPT2_CONFIG))
    assert architecture_of(recipe, lambda model: tmp_path) == GPT2_SMALL
    (tmp_path / "config.json").write_text('["damaged"')
    assert architecture_of(recipe, lambda model: tmp_path) == LLAMA_7B


@pytest.mark.parametrize("part", KNOWN)
def test_known_hub_ids(part: str) -> None:
    assert architecture_of(named(f"somebody/{part.upper()}-v0.1")) == KNOWN[part]


def test_of_an_unknown_model_nothing_is_known() -> None:
    assert architecture_of(named("nobody/knows")) is None
    assert architecture_of(named(None)) is None
    found = Architectures(lambda model: None)
    assert found.find(named("nobody/knows")) is FALLBACK


def test_a_shape_takes_its_vocabulary_from_the_tokenizer_or_the_tokens() -> None:
    kind = find_kind("pretrain")
    world = kind.recipe()
    assert architecture_of(world).vocabulary == 256  # type: ignore[union-attr]
    hub = kind.recipe.model_validate({"tokenizer": {"hub": "openai-community/gpt2"}})
    assert architecture_of(hub).vocabulary == 50_257  # type: ignore[union-attr]
    assert Architectures(lambda model: None).find(world, tokens=hub).vocabulary == 50_257


def test_a_model_is_looked_for_once() -> None:
    asked = []
    found = Architectures(lambda model: asked.append(model.hub))
    assert found.find(named("a/gpt2")) is found.find(named("a/gpt2"))
    assert asked == ["a/gpt2"]


def test_a_fresh_model_and_a_judge_are_brought_along() -> None:
    judge = find_kind("judge").recipe.model_validate(
        {"judge": {"classifier": {"model": {"hub": "nicholasKluge/ToxicityModel"}}}}
    )
    assert brings_model(judge) and architecture_of(judge).layers == 12  # type: ignore[union-attr]
    assert brings_model(find_kind("pretrain").recipe())
    assert not brings_model(named("a/gpt2"))


def test_the_hub_says_where_a_model_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    mapped, snapshot = tmp_path / "mapped", tmp_path / "cache" / "models--a--cached" / "snapshots" / "abc"
    mapped.mkdir()
    snapshot.mkdir(parents=True)
    (refs := snapshot.parents[1] / "refs").mkdir()
    (refs / "main").write_text("abc")
    hub = Hub({"a/mapped": str(mapped)})
    places = {
        name: hub.model_directory(ModelRecipe(hub=name)) for name in ("a/mapped", "a/cached", "a/nowhere")
    }
    assert places == {"a/mapped": mapped, "a/cached": snapshot, "a/nowhere": None}
    assert hub.model_directory(ModelRecipe()) is None


def test_a_plan_reads_the_config_of_a_mapped_model(tmp_path: Path) -> None:
    """The published shape of the id gives way to the mapped one, so the same grid costs less."""
    (tmp_path / "config.json").write_text(json.dumps(GPT2_CONFIG))
    grid = load_grid(GRID, scale="paper", where='model == "llama-1-7b" and seed == 0 and adapter == "lora"')
    published, mapped = (plan_grid(grid, paths) for paths in (None, {"huggyllama/llama-7b": str(tmp_path)}))
    assert sum(stage.cost for stage in mapped.stages) < 0.3 * sum(stage.cost for stage in published.stages)
