"""What a training leaves: files that libraries load, figures, snapshots, and outcomes."""

import json

import pyarrow.parquet as pq
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.support.training import (
    DPO,
    PRETRAIN,
    SFT,
    STEPS,
    Lab,
    dpo_recipe,
    lora,
    pretrain_recipe,
    sft_recipe,
    short,
)
from workers.context import BadInput
from workers.models.adapters import load_adapter_tensors
from workers.models.loading import trained_model
from workers.models.sources import parent_source
from workers.recipe import Execution
from workers.specs.data import InstructionData
from workers.specs.evaluate import EVALUATE, EvaluateRecipe
from workers.specs.model import ModelRecipe
from workers.training.callbacks import snapshot_directory
from workers.training.replay import replay_to_step


def ids_and_logits(model, tokenizer):
    ids = tokenizer("USER: what is", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return model(input_ids=ids).logits


def test_peft_loads_the_adapter_from_disk(lab: Lab, base):
    ran = lab.run(SFT, sft_recipe(), (base,))
    directory = parent_source(base).directory
    tokenizer = AutoTokenizer.from_pretrained(directory)
    loaded = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(directory), ran.output / "adapter"
    ).eval()
    trained = ran.parent("trained")
    stage = lab.stage(EVALUATE, EvaluateRecipe(), (trained,))
    with trained_model(lab.context(stage, (trained,)), ModelRecipe()) as (model, own):
        assert own.eos_token == tokenizer.eos_token
        assert torch.equal(ids_and_logits(model, own), ids_and_logits(loaded, tokenizer))
        assert not model.training


def test_the_adapter_names_its_base_without_a_path(lab: Lab, base):
    ran = lab.run(SFT, sft_recipe(), (base,))
    settings = json.loads((ran.output / "adapter" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == f"stage-{base.stage.id}"
    assert str(lab.root) not in (ran.output / "adapter" / "adapter_config.json").read_text()
    assert settings["r"] == 4
    assert settings["lora_alpha"] == 8


def test_a_full_model_is_left_with_its_tokenizer(lab: Lab, base):
    ran = lab.run(SFT, sft_recipe(adapter=None), (base,))
    model = AutoModelForCausalLM.from_pretrained(ran.output / "model")
    original = AutoModelForCausalLM.from_pretrained(parent_source(base).directory)
    assert not torch.equal(model.lm_head.weight, original.lm_head.weight)
    assert AutoTokenizer.from_pretrained(ran.output / "model").eos_token == "</s>"
    assert ran.value("trainable_parameters") == sum(each.numel() for each in model.parameters())


def test_metrics_and_curves(lab: Lab, base):
    ran = lab.run(SFT, sft_recipe(), (base,))
    rows = pq.read_table(ran.output / "curves.parquet").to_pylist()
    losses = [row["value"] for row in rows if row["name"] == "loss"]
    assert len(losses) == STEPS
    assert ran.value("loss") == pytest.approx(sum(losses) / len(losses))
    assert ran.value("trainable_parameters") == 2 * 4 * (32 + 32 + 32 + 16)
    assert {"loss", "learning_rate", "grad_norm"} <= {row["name"] for row in rows}
    primary = [row for row in ran.result.metrics if row["primary"]]
    assert [(row["task"], row["metric"]) for row in primary] == [("sft", "loss")]
    assert ran.value("rows_used") == 40


def test_dpo_curves_have_rewards(lab: Lab, base, reference):
    ran = lab.run(DPO, dpo_recipe(), (base, reference))
    names = set(pq.read_table(ran.output / "curves.parquet")["name"].to_pylist())
    assert {
        "rewards/chosen",
        "rewards/rejected",
        "rewards/margins",
        "rewards/accuracies",
        "logps/chosen",
    } <= names


def test_instructions_train_too(lab: Lab, base):
    recipe = sft_recipe(
        preferences=None, instructions=InstructionData(source=sft_recipe().preferences.source, samples=20)
    )
    assert lab.run(SFT, recipe, (base,)).value("rows_used") == 20


def test_sft_wants_one_kind_of_data(lab: Lab, base):
    with pytest.raises(BadInput, match="exactly one"):
        lab.run(SFT, sft_recipe(preferences=None), (base,))


@pytest.mark.parametrize("rate", [1e4])
def test_divergence_is_a_result(lab: Lab, base, rate):
    ran = lab.run(
        SFT, sft_recipe(adapter=None, training=short(30, rate, divergence=2.0, optimizer="sgd")), (base,)
    )
    assert ran.result.outcome == "diverged"
    assert "diverged at step" in ran.result.message
    assert (ran.output / "curves.parquet").is_file()


@pytest.mark.parametrize("kind", [SFT, DPO])
def test_a_missing_snapshot_is_replayed_with_the_same_bits(lab: Lab, base, kind):
    recipe = sft_recipe(seed=51) if kind is SFT else dpo_recipe(seed=51)
    ran = lab.run(kind, recipe, (base,), execution=Execution(device="cpu", snapshots=(3,)))
    parent = ran.parent("trained")
    stage = lab.stage(EVALUATE, EvaluateRecipe(step=3), (parent,))
    replayed = replay_to_step(lab.context(stage, (parent,), memory={}), parent, 3)
    stored = load_adapter_tensors(snapshot_directory(ran.output, 3) / "adapter")
    again = load_adapter_tensors(replayed / "adapter")
    assert stored.keys() == again.keys()
    assert all(torch.equal(stored[name], again[name]) for name in stored)


def test_a_replayed_step_is_evaluated(lab: Lab, base):
    ran = lab.run(SFT, sft_recipe(seed=52), (base,))
    parent = ran.parent("trained")
    stage = lab.stage(EVALUATE, EvaluateRecipe(step=2), (parent,))
    with trained_model(lab.context(stage, (parent,)), ModelRecipe(), step=2) as (model, tokenizer):
        early = ids_and_logits(model, tokenizer)
    with trained_model(lab.context(stage, (parent,)), ModelRecipe(), step=STEPS) as (model, tokenizer):
        assert not torch.equal(early, ids_and_logits(model, tokenizer))
    with (
        pytest.raises(BadInput, match="no step 99"),
        trained_model(lab.context(stage, (parent,)), ModelRecipe(), step=99),
    ):
        pass


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gpt2"])
def test_every_architecture_pretrains_and_adapts(lab: Lab, architecture):
    recipe = pretrain_recipe(training=short(2))
    shape = recipe.model.shape.model_copy(update={"architecture": architecture})
    base = lab.run(PRETRAIN, recipe.model_copy(update={"model": ModelRecipe(shape=shape)})).parent("base")
    modules = ("c_attn",) if architecture == "gpt2" else ("q_proj", "v_proj")
    adapter = lora().model_copy(update={"target_modules": modules})
    lab.run(SFT, sft_recipe(adapter=adapter, training=short(2)), (base,))
    lab.run(DPO, dpo_recipe(adapter=adapter, training=short(2)), (base,))
