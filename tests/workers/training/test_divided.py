"""Trainings divided among two processes: each strategy, killed in the middle, resumed, against one process."""

import json
import shutil
from pathlib import Path

import pytest

from tests.gpu.place import SMOLLM2
from tests.support.smollm import smollm2
from tests.support.together import (
    LOSSES,
    Team,
    distance,
    divided,
    largest_curve_difference,
    largest_difference,
    stage_of,
)
from tests.support.training import (
    DPO,
    NF4,
    PREFERENCES,
    PRETRAIN,
    SFT,
    WORLD,
    Lab,
    Ran,
    dpo_recipe,
    lora,
    pretrain_recipe,
    sft_recipe,
    short,
)
from workers.checkpoints import newest_checkpoint
from workers.context import Parent, StageStopped
from workers.endings import ProcessesFailed
from workers.kinds import Kind
from workers.recipe import Execution, Recipe
from workers.specs.data import DataSource, TextData
from workers.specs.model import ModelRecipe
from workers.specs.pretrain import PretrainRecipe
from workers.strategies import objection

pytestmark = pytest.mark.slow
STRATEGIES = ("ddp", "deepspeed-zero2", "deepspeed-zero3")
TOLERANCE = 1e-5
"""Of the joint norm of all weights, and of every logged loss by the largest."""
NORM_TOLERANCE = 1e-4
"""Of the gradient norm of 135 million weights: DeepSpeed sums all squares of a share at once, in float32."""
STILL = lora().model_copy(update={"dropout": 0.0})


@pytest.fixture(params=STRATEGIES)
def strategy(request: pytest.FixtureRequest) -> str:
    if request.param != "ddp":
        pytest.importorskip("deepspeed", reason="needs yates[deepspeed]")
    return str(request.param)


def recipe_of(name: str) -> tuple[Kind, Recipe]:
    """A training of the tiny model, without dropout unless its name says so."""
    match name:
        case "sft":
            return SFT, sft_recipe(adapter=STILL)
        case "sft with dropout":
            return SFT, sft_recipe(adapter=lora())
        case "whole sft":
            return SFT, sft_recipe(adapter=None)
        case "dpo":
            return DPO, dpo_recipe(adapter=STILL)
        case "qlora":
            return SFT, sft_recipe(adapter=lora(NF4).model_copy(update={"dropout": 0.0}))
    return PRETRAIN, pretrain_recipe(seed=9)  # another stage than the base of the others


def alone(lab: Lab, kind: Kind, recipe: Recipe, parents: tuple[Parent, ...], micro_batch: int = 2) -> Ran:
    """One process with the micro-batches of two."""
    return lab.run(kind, recipe, parents, execution=Execution(device="cpu", micro_batch=micro_batch))


def told(record_property, **figures: float) -> None:
    """Keep and print what was measured."""
    for name, value in figures.items():
        record_property(name, value)
        print(f"{name}={value:.2e}", end=" ")


def without(lab: Lab, ran: Ran) -> None:
    """Forget that a stage was run, so that another run starts from nothing."""
    shutil.rmtree(lab.workspace.attempts(ran.stage.id))


@pytest.mark.parametrize("name", ["sft", "whole sft", "dpo", "pretrain"])
def test_killed_and_resumed_it_ends_at_the_weights_of_one_process(
    lab: Lab, base: Parent, strategy: str, name: str, tmp_path: Path, record_property
) -> None:
    kind, recipe = recipe_of(name)
    parents = () if kind is PRETRAIN else (base,)
    one = alone(lab, kind, recipe, parents)
    kept = shutil.copytree(one.output, tmp_path / "one")
    without(lab, one)
    stage, execution = stage_of(lab, kind, recipe, parents), divided(strategy, checkpoint_steps=2)
    with pytest.raises(ProcessesFailed) as raised:
        Team(lab, stage, execution, "killed", kill=(1, 5)).run()
    assert raised.value.ending == "lost"
    assert newest_checkpoint(lab.workspace, stage.id).name == "000004"
    rest = Team(lab, stage, execution, "rest")
    two = rest.run()
    assert rest.steps[:2] == [0, 5]
    assert {path.relative_to(two.output) for path in two.output.rglob("*")} == {
        path.relative_to(kept) for path in kept.rglob("*")
    }
    losses, weights = largest_curve_difference(two.output, kept), distance(two.output, kept)
    told(record_property, losses=losses, weights=weights, entry=largest_difference(two.output, kept))
    assert weights < TOLERANCE
    assert losses < TOLERANCE
    for figure in ("trained_tokens", "trainable_parameters"):
        assert two.value(figure) == one.value(figure)


def test_a_stop_and_a_kill_change_no_bit(lab: Lab, base: Parent, strategy: str) -> None:
    """With dropout, whose masks are those of the processes: against the same processes uninterrupted."""
    kind, recipe = recipe_of("sft with dropout")
    stage, execution = stage_of(lab, kind, recipe, (base,)), divided(strategy, checkpoint_steps=2)
    whole = Team(lab, stage, execution, "whole").run()
    expected = {name: content for name, content in whole.bytes().items()}
    without(lab, whole)
    with pytest.raises(StageStopped):
        Team(lab, stage, execution, "stopped", stop=3).run()
    with pytest.raises(ProcessesFailed):
        Team(lab, stage, execution, "killed", kill=(0, 7)).run()
    rest = Team(lab, stage, execution, "rest").run()
    assert rest.bytes() == expected
    assert rest.result.metrics == whole.result.metrics


@pytest.mark.parametrize("strategy", ["ddp", "deepspeed-zero2"])
def test_an_adapter_on_four_bits(lab: Lab, base: Parent, strategy: str, record_property) -> None:
    kind, recipe = recipe_of("qlora")
    one = alone(lab, kind, recipe, (base,))
    two = Team(lab, stage_of(lab, kind, recipe, (base,)), divided(strategy), "two").run()
    told(record_property, weights=distance(two.output, one.output))
    assert distance(two.output, one.output) < TOLERANCE


def test_tied_embeddings_and_snapshots(lab: Lab, strategy: str) -> None:
    shape = pretrain_recipe().model.shape.model_copy(update={"tie_embeddings": True})
    recipe = pretrain_recipe(model=ModelRecipe(shape=shape), training=short(4))
    one = alone(lab, PRETRAIN, recipe, ())
    execution = divided(strategy, snapshots=(2,))
    two = Team(lab, stage_of(lab, PRETRAIN, recipe), execution, "two").run()
    assert distance(two.output, one.output) < TOLERANCE
    assert (two.output / "snapshots" / "000002" / "model" / "model.safetensors").is_file()


def test_bfloat16_autocast_is_that_of_one_process(
    lab: Lab, base: Parent, strategy: str, record_property
) -> None:
    recipe = sft_recipe(adapter=STILL, training=short(autocast="bfloat16"))
    one = alone(lab, SFT, recipe, (base,))
    two = Team(lab, stage_of(lab, SFT, recipe, (base,)), divided(strategy), "two").run()
    told(record_property, weights=distance(two.output, one.output))
    assert distance(two.output, one.output) < 1e-3


def test_gradient_checkpointing_changes_no_number(lab: Lab, base: Parent, strategy: str) -> None:
    kind, recipe = recipe_of("sft")
    one = alone(lab, kind, recipe, (base,))
    execution = divided(strategy, gradient_checkpointing=True)
    two = Team(lab, stage_of(lab, kind, recipe, (base,)), execution, "checkpointed").run()
    assert distance(two.output, one.output) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "option"), [("sft", "padding_free"), ("dpo", "padding_free"), ("pretrain", "chunked_loss")]
)
def test_lighter_batches_keep_the_numbers(
    lab: Lab, base: Parent, strategy: str, name: str, option: str
) -> None:
    kind, recipe = recipe_of(name)
    parents = () if kind is PRETRAIN else (base,)
    if objection(kind, recipe, divided(strategy, **{option: True})) is not None:
        pytest.skip("refused when a plan is made")
    one = alone(lab, kind, recipe, parents)
    execution = divided(strategy, **{option: True})
    two = Team(lab, stage_of(lab, kind, recipe, parents), execution, option).run()
    assert distance(two.output, one.output) < TOLERANCE


def test_reference_rows_of_a_parent(lab: Lab, base: Parent, reference: Parent, strategy: str) -> None:
    kind, recipe = recipe_of("dpo")
    one = alone(lab, kind, recipe, (base, reference))
    two = Team(lab, stage_of(lab, kind, recipe, (base, reference)), divided(strategy), "rows").run()
    assert distance(two.output, one.output) < TOLERANCE


def test_validation_of_a_pretraining(lab: Lab, strategy: str) -> None:
    training = short(4, validation_steps=2, validation_rows=6)
    recipe = pretrain_recipe(seed=10, training=training)
    one = alone(lab, PRETRAIN, recipe, ())
    two = Team(lab, stage_of(lab, PRETRAIN, recipe), divided(strategy), "two").run()
    assert two.value("validation_loss") == pytest.approx(one.value("validation_loss"), rel=TOLERANCE)


def test_validation_on_the_way(lab: Lab, base: Parent, strategy: str) -> None:
    if strategy == "deepspeed-zero3":
        pytest.skip("refused when a plan is made: answers are scored in inference mode")
    data = PREFERENCES.model_copy(update={"validation": 0.2, "samples": 30})
    training = short(validation_steps=4, validation_rows=6)
    recipe = sft_recipe(adapter=STILL, preferences=data, training=training)
    one = alone(lab, SFT, recipe, (base,))
    two = Team(lab, stage_of(lab, SFT, recipe, (base,)), divided(strategy), "two").run()
    assert two.value("validation_loss") == pytest.approx(one.value("validation_loss"), rel=TOLERANCE)


def recipe_of_smollm2(name: str) -> tuple[Kind, Recipe]:
    """Four steps of SmolLM2-135M-Instruct with LoRA, or of a fresh model of its shape with its vocabulary."""
    directory = str(smollm2())
    model, training = ModelRecipe(hub=directory), short(4, 1e-4).model_copy(update={"batch_size": 2})
    if name == "pretrain":
        fresh = ModelRecipe(shape=SMOLLM2)
        data = TextData(source=WORLD, block=64)
        return PRETRAIN, PretrainRecipe(
            model=fresh, tokenizer=DataSource(hub=directory), data=data, training=training
        )
    if name == "dpo":
        pairs = PREFERENCES.model_copy(update={"max_length": 64})
        return DPO, dpo_recipe(model=model, adapter=STILL, training=training, preferences=pairs)
    return SFT, sft_recipe(model=model, adapter=STILL, training=training, max_length=64)


@pytest.mark.parametrize("name", ["sft", "dpo", "pretrain"])
def test_a_real_model(tmp_path: Path, strategy: str, name: str, record_property) -> None:
    """Killed in the third step, resumed from the second."""
    lab, (kind, recipe) = Lab(tmp_path), recipe_of_smollm2(name)
    one = alone(lab, kind, recipe, (), micro_batch=1)
    kept = shutil.copytree(one.output, tmp_path / "one")
    without(lab, one)
    stage, execution = stage_of(lab, kind, recipe), divided(strategy, checkpoint_steps=2)
    with pytest.raises(ProcessesFailed):
        Team(lab, stage, execution, "killed", kill=(1, 3)).run()
    rest = Team(lab, stage, execution, "rest")
    two = rest.run()
    assert rest.steps[:2] == [0, 3]
    weights, losses = distance(two.output, kept), largest_curve_difference(two.output, kept, LOSSES)
    norms = largest_curve_difference(two.output, kept, ("grad_norm",))
    told(record_property, losses=losses, weights=weights, norms=norms, seconds=two.seconds["compute"])
    assert losses < TOLERANCE
    assert norms < (NORM_TOLERANCE if kind is PRETRAIN else TOLERANCE)
    assert weights < TOLERANCE
    assert two.value("trained_tokens") == one.value("trained_tokens")
    if kind is not PRETRAIN:
        assert json.loads((two.output / "adapter" / "adapter_config.json").read_text())["r"] == 4
