"""Layers through torch.compile: the numbers, files and checkpoints of a training without it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo import config as tracing
from torch._dynamo.utils import counters
from torch._inductor import config as generated
from torch._inductor.exc import CppCompileError, InductorError

from tests.support.together import Team, distance, divided, largest_curve_difference, stage_of
from tests.support.training import (
    PREFERENCES,
    PRETRAIN,
    SFT,
    Lab,
    base_of,
    lora,
    pretrain_recipe,
    sft_recipe,
    short,
)
from tests.workers.training.test_divided import recipe_of as divided_recipe_of
from tests.workers.training.test_divided import recipe_of_smollm2
from workers.context import BadInput, Parent
from workers.endings import ProcessesFailed
from workers.kinds import Kind
from workers.recipe import Execution, Recipe
from workers.specs.model import ModelRecipe, ModelShape
from workers.specs.reward import REWARD, RewardRecipe
from workers.training import compiled
from workers.training.compiled import as_written, compiled_layers, layers_of

TOLERANCE = 1e-5
"""Of the joint norm of all weights, and of every logged figure by the largest of its curve."""
ROUGH = 1e-2
"""The same under autocast in 16 bits, where what is computed in one go is not rounded in between."""
STILL = lora().model_copy(update={"dropout": 0.0})


def plain(**others: Any) -> Execution:
    return Execution(device="cpu", **({"micro_batch": 2} | others))


def with_compile(**others: Any) -> Execution:
    return plain(compile=True, **others)


def recipe_of(name: str) -> tuple[Kind, Recipe]:
    match name:
        case "sft in bfloat16":
            return SFT, sft_recipe(adapter=STILL, training=short(autocast="bfloat16"))
        case "sft with validation":
            data = PREFERENCES.model_copy(update={"validation": 0.2, "samples": 30})
            training = short(validation_steps=4, validation_rows=6)
            return SFT, sft_recipe(adapter=STILL, preferences=data, training=training)
        case "reward":
            return REWARD, RewardRecipe(
                preferences=PREFERENCES, template=sft_recipe().template, training=short(rate=1e-3)
            )
        case "pretrain gpt2 with dropout":
            shape = ModelShape(architecture="gpt2", hidden_size=32, layers=2, heads=2, dropout=0.1)
            return PRETRAIN, pretrain_recipe(model=ModelRecipe(shape=shape), training=short(4))
        case "pretrain":
            return PRETRAIN, pretrain_recipe(seed=9, training=short(4))
    return divided_recipe_of(name)


NAMES = (
    "sft",
    "sft with dropout",
    "whole sft",
    "qlora",
    "sft in bfloat16",
    "sft with validation",
    "dpo",
    "reward",
    "pretrain",
    "pretrain gpt2 with dropout",
)


def parents_of(kind: Kind, base: Parent) -> tuple[Parent, ...]:
    return () if kind is PRETRAIN else (base,)


def files(output: Path) -> set[str]:
    return {str(path.relative_to(output)) for path in output.rglob("*")}


@pytest.fixture
def traced() -> Iterator[Any]:
    """What torch counts while it compiles: graphs, and where it went on without."""
    counters.clear()
    yield counters
    counters.clear()


def told(record_property: Any, **figures: float) -> None:
    for name, value in figures.items():
        record_property(name, value)
        print(f"{name}={value:.2e}", end=" ")


def settings() -> dict[str, Any]:
    """What torch's compiler is set to in this process."""
    return {"tracing": tracing.get_config_copy(), "generated": generated.get_config_copy()}


def compare(one: Path, two: Path, record_property: Any, tolerance: float = TOLERANCE) -> None:
    assert files(two) == files(one)
    weights, losses = distance(two, one), largest_curve_difference(two, one)
    told(record_property, weights=weights, losses=losses)
    assert weights < tolerance
    assert losses < tolerance


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler")
def test_a_compiled_pretraining_leaves_what_the_plain_one_does(
    lab: Lab, traced: Any, record_property: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole stage, of whose layers the feed-forward parts alone are compiled: they take a compiler few seconds."""
    shape = ModelShape(architecture="gpt2", hidden_size=16, layers=2, heads=2, intermediate_size=32)
    recipe = pretrain_recipe(model=ModelRecipe(shape=shape), training=short(3))
    one = lab.run(PRETRAIN, recipe, execution=plain())
    before = settings()
    parts = compiled.layers_of
    monkeypatch.setattr(compiled, "layers_of", lambda model: [layer.mlp for layer in parts(model)])
    two = lab.run(PRETRAIN, recipe, execution=with_compile())
    assert traced["stats"]["unique_graphs"] == 1  # two layers, two micro-batches, three steps
    assert not traced["graph_break"]
    assert settings() == before
    compare(one.output, two.output, record_property)
    assert lab.run(PRETRAIN, recipe, execution=plain()).bytes() == one.bytes()


def test_without_a_compiler_the_message_says_what_to_install(lab: Lab) -> None:
    with generated.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.raises(BadInput) as raised:
        lab.run(PRETRAIN, pretrain_recipe(seed=11), execution=with_compile())
    assert "needs a C++ compiler, and there is none here (g++ on the PATH" in str(raised.value)


def test_a_compiler_that_fails_is_named_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real layers, a real compiler that finds no header: what torch raises becomes one sentence."""
    model = layered()
    before = settings()
    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", lambda: "g++")
    failure = CppCompileError(
        ["g++"], "In file included\nfatal error: Python.h: No such file\n1 error generated"
    )
    with pytest.raises(BadInput) as raised, compiled_layers(model, "cpu"):
        assert all("_compiled_call_impl" in layer.__dict__ for layer in layers_of(model))
        assert settings()["tracing"]["recompile_limit"] > before["tracing"]["recompile_limit"]
        raise InductorError(failure, None)
    assert "the C++ compiler failed (fatal error: Python.h: No such file)" in str(raised.value)
    assert raised.value.__cause__ is None
    assert not any("_compiled_call_impl" in layer.__dict__ for layer in layers_of(model))
    assert settings() == before


def test_other_failures_pass_and_leave_the_model_as_it_was() -> None:
    model = layered()
    with pytest.raises(KeyError, match="mine"), compiled_layers(model, "cpu"):
        raise KeyError("mine")
    assert not any("_compiled_call_impl" in layer.__dict__ for layer in layers_of(model))


def test_what_has_no_layers_cannot_be_compiled() -> None:
    with (
        pytest.raises(BadInput, match="finds no layers in a Linear"),
        compiled_layers(torch.nn.Linear(2, 2), "cpu"),
    ):
        raise AssertionError("not reached")
    with compiled_layers(torch.nn.Linear(2, 2), "cpu", wanted=False):
        pass


def test_what_is_measured_on_the_way_is_not_compiled(traced: Any) -> None:
    ids = torch.tensor([[1, 2, 3]])
    model = layered()
    expected = model(ids).logits
    with compiled_layers(model, "cpu"), as_written(with_compile()):
        assert torch.equal(model(ids).logits, expected)
    assert not traced["stats"]["unique_graphs"]


def layered() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1, "vocab_size": 16}
    return LlamaForCausalLM(LlamaConfig(num_hidden_layers=2, **sizes))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_of_every_kind(lab: Lab, base: Parent, name: str, record_property: Any) -> None:
    kind, recipe = recipe_of(name)
    parents = parents_of(kind, base)
    one = lab.run(kind, recipe, parents, execution=plain())
    two = lab.run(kind, recipe, parents, execution=with_compile())
    if "bfloat16" not in name:
        compare(one.output, two.output, record_property)
        return
    other = lab.run(kind, recipe, parents, execution=plain(micro_batch=1)).output
    noise, its_losses = distance(other, one.output), largest_curve_difference(other, one.output)
    told(record_property, another_micro_batch=noise, its_losses=its_losses)
    compare(one.output, two.output, record_property, ROUGH)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("sft with dropout", "gradient_checkpointing"),
        ("pretrain", "gradient_checkpointing"),
        ("sft", "padding_free"),
        ("dpo", "padding_free"),
        ("pretrain", "chunked_loss"),
    ],
)
def test_with_the_other_settings(
    lab: Lab, base: Parent, name: str, option: str, record_property: Any
) -> None:
    kind, recipe = recipe_of(name)
    parents = parents_of(kind, base)
    one = lab.run(kind, recipe, parents, execution=plain(**{option: True}))
    two = lab.run(kind, recipe, parents, execution=with_compile(**{option: True}))
    compare(one.output, two.output, record_property)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sft with dropout", "dpo"])
@pytest.mark.parametrize("at", [1, 5])
def test_stopped_and_resumed_no_bit_changes(lab: Lab, base: Parent, name: str, at: int) -> None:
    """What is compiled anew after a resume meets rows of other lengths first."""
    kind, recipe = recipe_of(name)
    whole = lab.run(kind, recipe, (base,), execution=with_compile())
    checkpoint = lab.interrupt(kind, recipe, (base,), at, execution=with_compile())
    rest = lab.run(kind, recipe, (base,), execution=with_compile(), resume_from=checkpoint)
    assert rest.bytes() == whole.bytes()
    assert rest.result.metrics == whole.result.metrics


@pytest.mark.slow
@pytest.mark.parametrize("first", [plain(), with_compile()], ids=["plain first", "compiled first"])
def test_checkpoints_serve_each_other(lab: Lab, base: Parent, first: Execution, record_property: Any) -> None:
    kind, recipe = recipe_of("whole sft")
    second = with_compile() if not first.compile else plain()
    whole = lab.run(kind, recipe, (base,), execution=plain())
    checkpoint = lab.interrupt(kind, recipe, (base,), 3, execution=first)
    rest = lab.run(kind, recipe, (base,), execution=second, resume_from=checkpoint)
    compare(whole.output, rest.output, record_property)


@pytest.mark.slow
def test_lengths_share_their_compilations(traced: Any) -> None:
    """Forty lengths in batches of two to four rows, with a mask and without: one compilation for each of these two.

    Gradients are those of the model as it is written.
    """
    model = layered()
    with compiled_layers(model, "cpu"):
        for length in range(5, 45):
            ids = torch.randint(0, 16, (2 + length % 3, length))
            mask = torch.ones_like(ids)
            mask[0, -2:] = 0
            for given in ({"attention_mask": mask}, {}):
                with as_written(with_compile()):
                    expected = gradients(model, ids, given)
                found = gradients(model, ids, given)
                torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
        graphs = traced["stats"]["unique_graphs"]
    print(f"graphs={graphs}", end=" ")
    assert graphs == 2
    assert not traced["graph_break"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sft", "dpo", "reward", "pretrain"])
def test_layers_share_their_compilations(lab: Lab, name: str, traced: Any) -> None:
    """Six layers: the first, whose inputs need no gradient under an adapter, and one for all others.

    Each with a mask and without; DPO asks its reference without gradients.
    """
    shape = ModelShape(hidden_size=16, layers=6, heads=2, intermediate_size=32)
    kind, recipe = recipe_of(name)
    base = base_of(lab, model=ModelRecipe(shape=shape), training=short(1))
    given = recipe.model_copy(update={"training": short(4)})
    if kind is PRETRAIN:
        given = given.model_copy(update={"model": ModelRecipe(shape=shape)})
    lab.run(kind, given, parents_of(kind, base), execution=with_compile())
    graphs = traced["stats"]["unique_graphs"]
    print(f"graphs={graphs}", end=" ")
    assert 1 <= graphs <= 4
    assert not traced["graph_break"]


def gradients(model: Any, ids: torch.Tensor, given: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Of the loss of a batch, in every weight."""
    loss = model(input_ids=ids, labels=ids, use_cache=False, **given).loss
    return list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "deepspeed-zero2"])
@pytest.mark.parametrize("name", ["sft", "dpo", "pretrain"])
def test_two_processes(
    lab: Lab, base: Parent, strategy: str, name: str, tmp_path: Path, record_property: Any
) -> None:
    """Against one process that is not compiled."""
    if strategy != "ddp":
        pytest.importorskip("deepspeed", reason="needs yates[deepspeed]")
    kind, recipe = recipe_of(name)
    parents = parents_of(kind, base)
    one = lab.run(kind, recipe, parents, execution=plain())
    kept = shutil.copytree(one.output, tmp_path / "one")
    shutil.rmtree(lab.workspace.attempts(one.stage.id))
    execution = divided(strategy, compile=True)
    two = Team(lab, stage_of(lab, kind, recipe, parents), execution, "two").run()
    compare(kept, two.output, record_property)


@pytest.mark.slow
def test_killed_and_resumed_two_processes_change_no_bit(lab: Lab, base: Parent) -> None:
    """With dropout; against the same two processes, compiled and uninterrupted."""
    kind, recipe = recipe_of("sft with dropout")
    stage, execution = stage_of(lab, kind, recipe, (base,)), divided("ddp", compile=True, checkpoint_steps=2)
    whole = Team(lab, stage, execution, "whole").run()
    expected = whole.bytes()
    shutil.rmtree(lab.workspace.attempts(stage.id))
    with pytest.raises(ProcessesFailed):
        Team(lab, stage, execution, "killed", kill=(1, 5)).run()
    rest = Team(lab, stage, execution, "rest")
    assert rest.run().bytes() == expected
    assert rest.steps[:2] == [0, 5]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sft", "dpo", "pretrain"])
def test_a_real_model(tmp_path: Path, name: str, traced: Any, record_property: Any) -> None:
    """SmolLM2-135M-Instruct with LoRA, or a fresh model of its shape: thirty layers."""
    lab, (kind, recipe) = Lab(tmp_path), recipe_of_smollm2(name)
    one = lab.run(kind, recipe, execution=plain(micro_batch=1))
    two = lab.run(kind, recipe, execution=with_compile(micro_batch=1))
    graphs = traced["stats"]["unique_graphs"]
    told(record_property, graphs=graphs, plain=one.seconds["compute"], compiled=two.seconds["compute"])
    assert graphs <= 4
    compare(one.output, two.output, record_property)
