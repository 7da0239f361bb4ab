"""What is refused before anything runs, and which checkpoints go with which division of the work."""

import json
from pathlib import Path

import pytest

from tests.support.training import NF4, lora, sft_recipe, short
from workers.kinds import find_kind
from workers.recipe import Execution, Resources
from workers.specs.pretrain import PretrainRecipe
from workers.specs.quantized import MomentQuantizer, QuantizedTraining, Quantizer
from workers.specs.reward import REWARD, RewardRecipe
from workers.strategies import WHOLE, division, lacking, layout, objection, suits, with_processes

SFT, PRETRAIN = find_kind("sft"), find_kind("pretrain")


def divided(strategy: str = "ddp", processes: int = 2, **others: object) -> Execution:
    return Execution(strategy=strategy, processes=processes, **others)


def quantized(**settings: object) -> PretrainRecipe:
    return PretrainRecipe(training=short(), quantization=QuantizedTraining(**settings))


def test_there_is_one_process_for_each_gpu() -> None:
    assert with_processes(divided(processes=1), Resources(gpus=4)).processes == 4
    assert with_processes(divided(processes=4), Resources(gpus=4)).processes == 4
    assert with_processes(divided(), Resources()).processes == 2
    assert with_processes(divided(device="cpu"), Resources(gpus=4)).processes == 2
    one = Execution()
    assert with_processes(one, Resources(gpus=4)) is one


@pytest.mark.parametrize(
    ("execution", "gpus", "words"),
    [
        (divided("single"), 0, "`processes: 2` needs a `strategy`"),
        (divided(processes=1), 0.5, "needs whole GPUs, not `gpus: 0.5`"),
        (divided(), 4, "`processes: 2` and `gpus: 4` differ"),
    ],
)
def test_processes_and_gpus_that_contradict_each_other_are_refused(
    execution: Execution, gpus: float, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        with_processes(execution, Resources(gpus=gpus))


@pytest.mark.parametrize("strategy", ["ddp", "deepspeed-zero2", "deepspeed-zero3"])
def test_what_every_strategy_runs(strategy: str) -> None:
    assert objection(SFT, sft_recipe(), divided(strategy)) is None
    assert objection(PRETRAIN, PretrainRecipe(training=short()), divided(strategy)) is None


@pytest.mark.parametrize(
    ("strategy", "recipe", "words"),
    [
        ("ddp", sft_recipe(training=short(autocast="float16")), None),
        ("ddp", sft_recipe(adapter=lora(NF4)), None),
        ("ddp", quantized(activations=Quantizer(), second_moment=MomentQuantizer()), None),
        ("ddp", quantized(activations=Quantizer(axis="tensor")), "share a scale across tokens"),
        ("ddp", quantized(weights=Quantizer(axis="tensor")), None),
        ("ddp", quantized(weights=Quantizer(rounding="stochastic")), "would draw otherwise"),
        ("deepspeed-zero2", quantized(weights=Quantizer()), "does not keep the rounding"),
        ("deepspeed-zero2", sft_recipe(adapter=lora(NF4)), None),
        ("deepspeed-zero3", sft_recipe(adapter=lora(NF4)), "QLoRA"),
        ("deepspeed-zero3", sft_recipe(training=short(autocast="float16")), "float32 or bfloat16"),
        ("deepspeed-zero3", sft_recipe(training=short(validation_steps=2)), "scores no answers"),
        ("deepspeed-zero3", PretrainRecipe(training=short(validation_steps=2)), None),
    ],
)
def test_what_a_strategy_refuses(strategy: str, recipe: object, words: str | None) -> None:
    kind = PRETRAIN if isinstance(recipe, PretrainRecipe) else SFT
    found = objection(kind, recipe, divided(strategy))
    assert found is None if words is None else words in (found or "")


def test_what_is_not_installed_is_said_where_the_stage_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert objection(SFT, sft_recipe(), divided("deepspeed-zero2")) is None
    assert lacking("deepspeed-zero2") == (
        "strategy 'deepspeed-zero2' needs DeepSpeed: pip install 'yates[deepspeed]'"
    )
    assert lacking("ddp") is None


def test_a_reward_adapter_cannot_be_merged_in_pieces() -> None:
    found = objection(REWARD, RewardRecipe(adapter=lora()), divided("deepspeed-zero3"))
    assert "cannot merge a reward model's adapter" in (found or "")
    assert objection(REWARD, RewardRecipe(), divided("deepspeed-zero3")) is None


def test_kinds_and_batches_that_cannot_be_divided_are_refused() -> None:
    evaluate = find_kind("evaluate")
    assert "'evaluate' runs as one process" in (objection(evaluate, evaluate.recipe(), divided()) or "")
    assert objection(evaluate, evaluate.recipe(), Execution()) is None
    assert objection(SFT, sft_recipe(), divided(processes=3)) == (
        "3 processes cannot share `batch_size: 4` evenly"
    )


def test_checkpoints_that_hold_tensors_whole_serve_each_other(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoints" / "000004"
    checkpoint.mkdir(parents=True)
    assert suits(checkpoint, divided())
    assert not suits(checkpoint, divided("deepspeed-zero2"))
    record = {"execution": divided("deepspeed-zero2").model_dump(mode="json")}
    (tmp_path / "attempt.json").write_text(json.dumps(record))
    assert suits(checkpoint, divided("deepspeed-zero2"))
    for other in (Execution(), divided(), divided("deepspeed-zero3"), divided("deepspeed-zero2", 4)):
        assert not suits(checkpoint, other)


def test_records_of_before_have_one_layout_and_one_process_leaves_fingerprints_as_they_were() -> None:
    assert layout({}) == layout({"micro_batch": 4}) == layout(divided().model_dump()) == WHOLE
    assert division(Execution()) == {}
    assert division(divided(processes=4)) == {"strategy": "ddp", "processes": 4}
