"""The configuration that DeepSpeed is given, from the plan alone."""

import json
from types import SimpleNamespace

import pytest
import torch

from workers.specs.training import Training
from workers.training.deepspeed import (
    deepspeed_config,
    elements,
    fit_buckets,
    whole_adapter,
    whole_tensors,
    zero_stage,
)


def configuration(strategy: str = "deepspeed-zero2", micro_batch: int = 2, **settings: object) -> dict:
    training = Training(batch_size=16, **settings)
    return deepspeed_config(strategy, training, micro_batch=micro_batch, processes=4)


@pytest.mark.parametrize("micro_batch", [1, 2, 4])
def test_the_parts_multiply_to_the_batch_of_the_recipe(micro_batch: int) -> None:
    found = configuration(micro_batch=micro_batch)
    assert found["train_batch_size"] == 16
    assert found["train_micro_batch_size_per_gpu"] == micro_batch
    assert found["gradient_accumulation_steps"] * micro_batch * 4 == 16


@pytest.mark.parametrize(
    ("offload", "moved"),
    [
        ("none", set()),
        ("optimizer", {"offload_optimizer"}),
        ("weights", {"offload_optimizer", "offload_param"}),
    ],
)
@pytest.mark.parametrize("pinned", [False, True])
def test_what_is_offloaded(offload: str, moved: set[str], pinned: bool) -> None:
    """Torch's optimizer is kept: DeepSpeed's own for the CPU is not asked for."""
    found = deepspeed_config(
        "deepspeed-zero3", Training(), micro_batch=2, processes=4, offload=offload, pinned=pinned
    )
    places = {key: each for key, each in found["zero_optimization"].items() if "offload" in key}
    assert places == {key: {"device": "cpu", "pin_memory": pinned} for key in moved}
    assert found["zero_force_ds_cpu_optimizer"] is False


def test_clipping_is_that_of_the_recipe_and_nothing_is_offloaded_unasked() -> None:
    found = configuration("deepspeed-zero3", max_gradient_norm=0.7)
    assert found["gradient_clipping"] == 0.7
    assert "offload" not in json.dumps(found["zero_optimization"])
    assert "auto" not in json.dumps(found).replace("torch_autocast", "")


def test_stages_and_how_their_weights_are_written() -> None:
    assert configuration()["zero_optimization"]["stage"] == 2
    third = configuration("deepspeed-zero3")["zero_optimization"]
    assert third["stage"] == 3
    assert third["stage3_gather_16bit_weights_on_model_save"]
    assert third["stage3_param_persistence_threshold"] == 0
    assert [zero_stage(name) for name in ("single", "ddp", "deepspeed-zero2", "deepspeed-zero3")] == [
        0,
        0,
        2,
        3,
    ]


def test_trained_weights_keep_their_precision() -> None:
    assert not {"bf16", "fp16", "torch_autocast"} & configuration().keys()
    found = configuration(autocast="bfloat16")
    assert found["torch_autocast"] == {
        "enabled": True,
        "dtype": "bfloat16",
        "lower_precision_safe_modules": [],
    }
    assert not {"bf16", "fp16"} & found.keys()


@pytest.mark.parametrize(("strategy", "micro_batch"), [("ddp", 2), ("single", 2), ("deepspeed-zero2", 3)])
def test_what_is_no_division_is_refused(strategy: str, micro_batch: int) -> None:
    with pytest.raises(ValueError, match=f"{strategy}' with 4 times {micro_batch} rows"):
        configuration(strategy, micro_batch)


def test_without_stage_three_weights_are_whole_already() -> None:
    model = torch.nn.Linear(3, 2)
    assert sum(map(elements, model.parameters())) == 8
    model.weight.ds_numel = 600
    assert elements(model.weight) == 600
    with whole_adapter(model, "deepspeed-zero2"):
        pass
    trainer = type("Trainer", (), {"model": model})()
    assert whole_tensors(trainer, "ddp").keys() == {"weight", "bias"}


def test_the_buffer_of_gradients_is_no_larger_than_what_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(30, 20, bias=False), torch.nn.Linear(20, 10, bias=False))
    model[0].requires_grad_(False)
    settings = configuration()
    plugin = SimpleNamespace(deepspeed_config=settings)
    trainer = SimpleNamespace(
        model=model, accelerator=SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=plugin))
    )
    fit_buckets(trainer)
    assert settings["zero_optimization"]["reduce_bucket_size"] == 200
    monkeypatch.setattr("workers.training.deepspeed.BUCKET", 50)
    fit_buckets(trainer)
    assert settings["zero_optimization"]["reduce_bucket_size"] == 50


def test_deepspeed_itself_reads_it() -> None:
    """By DeepSpeed's own schema, which refuses unknown keys of the optimization."""
    pytest.importorskip("deepspeed", reason="needs yates[deepspeed]")
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    for strategy in ("deepspeed-zero2", "deepspeed-zero3"):
        settings = configuration(strategy)["zero_optimization"]
        offload = "weights" if strategy == "deepspeed-zero3" else "optimizer"
        moved = deepspeed_config(strategy, Training(), micro_batch=1, processes=2, offload=offload)
        assert str(DeepSpeedZeroConfig(**moved["zero_optimization"]).offload_optimizer.device) == "cpu"
        read = DeepSpeedZeroConfig(**settings)
        assert int(read.stage) == settings["stage"]
        assert read.gather_16bit_weights_on_model_save == (strategy == "deepspeed-zero3")
