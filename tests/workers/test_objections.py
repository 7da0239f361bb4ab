"""What an execution asks for in vain: compiling and offloading where they do not apply."""

import pytest

from tests.support.training import sft_recipe, short
from workers.fingerprints import of_execution
from workers.kinds import find_kind
from workers.objections import COMPILED, OFFLOADED, objection, ordinary
from workers.recipe import Execution
from workers.specs.pretrain import PretrainRecipe
from workers.specs.quantized import MomentQuantizer, QuantizedTraining
from workers.specs.reward import RewardRecipe
from workers.specs.training import Training
from workers.strategies import layout

SFT = find_kind("sft")


def divided(strategy: str, **others: object) -> Execution:
    return Execution(strategy=strategy, processes=2, **others)


def test_what_asks_for_nothing_needs_no_look() -> None:
    assert ordinary(Execution(micro_batch=4, gradient_checkpointing=True))
    for other in (
        Execution(compile=True),
        divided("ddp"),
        Execution(offload="optimizer"),
        Execution(processes=2),
    ):
        assert not ordinary(other)


@pytest.mark.parametrize("name", ["sft", "dpo", "reward", "pretrain"])
def test_every_training_is_compiled(name: str) -> None:
    kind = find_kind(name)
    assert objection(kind, kind.recipe(training=short()), Execution(compile=True)) is None
    assert name in COMPILED


@pytest.mark.parametrize(
    ("strategy", "words"),
    [("ddp", None), ("deepspeed-zero2", None), ("deepspeed-zero3", "by hooks on every module")],
)
def test_which_strategies_can_be_compiled(strategy: str, words: str | None) -> None:
    found = objection(SFT, sft_recipe(), divided(strategy, compile=True))
    assert found is None if words is None else found is not None and words in found[1]


def test_rounded_layers_are_not_compiled_and_rounded_moments_are_no_matter() -> None:
    kind = find_kind("pretrain")
    for part in ("weights", "activations", "gradients"):
        recipe = PretrainRecipe(training=short(), quantization=QuantizedTraining(**{part: {}}))
        found = objection(kind, recipe, Execution(compile=True))
        assert found is not None and "cannot compile the quantized layers" in found[1]
        assert objection(kind, recipe, Execution()) is None
    moments = QuantizedTraining(second_moment=MomentQuantizer())
    assert (
        objection(kind, PretrainRecipe(training=short(), quantization=moments), Execution(compile=True))
        is None
    )


@pytest.mark.parametrize("name", ["evaluate", "ppo", "reference"])
def test_other_kinds_are_not(name: str) -> None:
    kind = find_kind(name)
    found = objection(kind, kind.recipe(), Execution(compile=True))
    assert found == (
        "compile",
        f"a stage of kind {name!r} is not compiled; `compile` is for sft, dpo, reward and pretrain",
    )
    assert objection(kind, kind.recipe(), Execution()) is None


@pytest.mark.parametrize(
    ("execution", "words"),
    [
        (Execution(offload="optimizer"), "strategy 'single' keeps everything"),
        (divided("ddp", offload="weights"), "'deepspeed-zero3' (optimizer, weights)"),
        (divided("deepspeed-zero2", offload="weights"), "use `offload: optimizer`, or 'deepspeed-zero3'"),
        (divided("deepspeed-zero2", offload="optimizer"), None),
        (divided("deepspeed-zero3", offload="optimizer"), None),
        (divided("deepspeed-zero3", offload="weights"), None),
    ],
)
def test_where_something_can_be_offloaded(execution: Execution, words: str | None) -> None:
    found = objection(SFT, sft_recipe(), execution)
    assert found is None if words is None else found is not None and words in found[1]
    assert found is None or found[0] == "offload"


def test_optimizers_that_compute_on_a_gpu_only_stay_there() -> None:
    names = Training.model_fields["optimizer"].annotation.__args__
    for name in names:
        found = objection(
            SFT, sft_recipe(training=short(optimizer=name)), divided("deepspeed-zero2", offload="optimizer")
        )
        assert (found is None) == (name in OFFLOADED)
    assert "paged_adamw_32bit" in names


def test_a_strategy_is_objected_to_under_its_own_name() -> None:
    found = objection(SFT, sft_recipe(), Execution(strategy="ddp", processes=3))
    assert found == ("strategy", "3 processes cannot share `batch_size: 4` evenly")
    kind = find_kind("reward")
    assert objection(kind, RewardRecipe(), divided("deepspeed-zero3", offload="weights")) is None


def test_fingerprints_name_both_and_checkpoints_know_neither() -> None:
    given = divided("deepspeed-zero2", offload="optimizer", compile=True)
    assert of_execution(given) == {"compile": True, "offload": "optimizer"}
    assert of_execution(Execution()) == {}
    assert layout(given.model_dump()) == layout(divided("deepspeed-zero2").model_dump())
