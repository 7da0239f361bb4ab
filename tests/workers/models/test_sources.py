import json

import pytest
import torch

from tests.support.training import SFT, WORLD, Lab, base_of, sft_recipe
from workers.context import BadInput, StageContext
from workers.models.cache import BoundedCache
from workers.models.loading import borrowed_base, load_tokenizer, trained_model
from workers.models.sources import hub_directory, hub_source, stage_output
from workers.recipe import Execution
from workers.specs.model import ModelRecipe
from workers.world import world_directory


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def base(lab: Lab):
    return base_of(lab)


def context_of(lab: Lab, **others) -> StageContext:
    return lab.context(lab.stage(SFT, sft_recipe()), (), **others)


def test_a_hub_id_is_mapped_or_a_path_or_explained(lab: Lab, base, monkeypatch):
    directory = str(base.output / "model")
    assert str(hub_directory({"org/name": directory}, "org/name")) == directory
    assert str(hub_directory({}, directory)) == directory
    with pytest.raises(BadInput, match="mapped to /nowhere"):
        hub_directory({"org/name": "/nowhere"}, "org/name")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BadInput, match=r"model 'org/absent'.*hub map.*--hub-map"):
        hub_directory({}, "org/absent")


def test_a_stage_trains_on_a_mapped_hub_model(lab: Lab, base):
    recipe = sft_recipe(model=ModelRecipe(hub="org/toy"))
    mapped = lab.run(SFT, recipe, hub_map={"org/toy": str(base.output / "model")})
    same = lab.run(SFT, sft_recipe(), (base,))
    assert (
        mapped.bytes()["adapter/adapter_model.safetensors"]
        == same.bytes()["adapter/adapter_model.safetensors"]
    )
    settings = json.loads((mapped.output / "adapter" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "org/toy"


def test_a_stage_without_any_model_says_so(lab: Lab):
    with pytest.raises(BadInput, match=r"model\.hub"):
        lab.run(SFT, sft_recipe(seed=3))


def test_a_directory_without_a_model(lab: Lab, tmp_path):
    with pytest.raises(BadInput, match=r"config\.json"):
        hub_source(context_of(lab), ModelRecipe(hub=str(tmp_path)))


def test_pickled_weights_are_not_loaded(lab: Lab, base, tmp_path):
    for path in (base.output / "model").iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    context = context_of(lab)
    recipe = ModelRecipe(hub=str(tmp_path))
    with pytest.raises(BadInput), borrowed_base(context, hub_source(context, recipe), recipe):
        pass


def test_the_original_model_is_evaluated_without_a_parent(lab: Lab, base):
    recipe = ModelRecipe(hub=str(base.output / "model"))
    with trained_model(context_of(lab), recipe) as (model, tokenizer):
        assert not model.training
        assert tokenizer.padding_side == "right"
        assert not any(parameter.requires_grad for parameter in model.parameters())


def test_an_uncommitted_stage_is_named(lab: Lab):
    with pytest.raises(BadInput, match="is not done"):
        stage_output(lab.workspace, "0" * 32)


def test_tokenizers_get_a_pad_mark_and_need_an_end_mark(lab: Lab, tmp_path):
    source = world_directory(lab.workspace.cache, WORLD.world) / "tokenizer"
    for name, missing in (("padless", "pad_token"), ("endless", "eos_token")):
        directory = tmp_path / name
        directory.mkdir()
        (directory / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
        settings = json.loads((source / "tokenizer_config.json").read_text())
        del settings[missing]
        (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    assert load_tokenizer(context_of(lab), tmp_path / "padless").pad_token == "</s>"
    with pytest.raises(BadInput, match="end mark"):
        load_tokenizer(context_of(lab), tmp_path / "endless")


def test_a_failed_borrower_leaves_no_model_behind(lab: Lab, base):
    recipe = ModelRecipe(hub=str(base.output / "model"))
    context = context_of(lab, memory={}, execution=Execution(device="cpu"))
    source = hub_source(context, recipe)
    with pytest.raises(RuntimeError), borrowed_base(context, source, recipe) as spoiled:
        spoiled.lm_head.weight.data.zero_()
        raise RuntimeError
    with borrowed_base(context, source, recipe) as model:
        assert model.lm_head.weight.abs().sum() > 0


def test_the_cache_is_bounded_by_use():
    cache, made = BoundedCache(2), []
    for key in ("a", "b", "a", "c", "a", "b"):
        cache.get(key, lambda key=key: made.append(key))
    assert made == ["a", "b", "c", "b"]
    assert len(cache) == 2
