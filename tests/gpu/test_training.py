"""Every kind of training on a GPU, with SmolLM2-135M; the same tests run on the CPU with small models.

python -m pytest tests/gpu -m gpu       on a machine with a GPU
python -m pytest tests/gpu -m slow      without one: the code, apart from the device
"""

import math
from collections.abc import Callable

import pandas as pd
import pytest

from tests.gpu.place import Place, limited
from tests.support.training import (
    DPO,
    PRETRAIN,
    SFT,
    WORLD,
    dpo_recipe,
    lora,
    pretrain_recipe,
    sft_recipe,
    short,
)
from tests.workers.ppo.lab import ppo_recipe, training
from workers.kinds import Kind
from workers.recipe import Recipe
from workers.specs.data import TextData
from workers.specs.model import ModelRecipe, ModelShape, QuantizationRecipe
from workers.specs.ppo import PPO
from workers.specs.quantized import MomentQuantizer, QuantizedTraining, Quantizer

RATE = 1e-3
QUANTIZERS = QuantizedTraining(
    weights=Quantizer(bits=8), activations=Quantizer(bits=8), first_moment=MomentQuantizer()
)
KINDS: dict[str, tuple[Kind, Callable[[Place], Recipe]]] = {
    "sft": (SFT, lambda place: sft_recipe(training=short(4, RATE))),
    "sft, every weight": (SFT, lambda place: sft_recipe(adapter=None, training=short(4, 1e-4))),
    "sft, mixed precision": (
        SFT,
        lambda place: sft_recipe(training=short(4, RATE, autocast="bfloat16")),
    ),
    "qlora": (
        SFT,
        lambda place: sft_recipe(
            adapter=lora(QuantizationRecipe(double_quantization=True)), training=short(4, RATE)
        ),
    ),
    "dpo": (DPO, lambda place: dpo_recipe(training=short(4, RATE))),
    "ppo": (PPO, lambda place: ppo_recipe(training=training(steps=2, learning_rate=1e-4))),
    "pretrain, quantizers": (
        PRETRAIN,
        lambda place: place.pretraining(quantization=QUANTIZERS, training=short(4, 1e-4)),
    ),
    "pretrain, mixed precision": (
        PRETRAIN,
        lambda place: place.pretraining(training=short(4, 1e-4, autocast="bfloat16")),
    ),
}
each_kind = pytest.mark.parametrize("name", KINDS)


@each_kind
def test_a_training_ends_with_finite_figures(place: Place, name: str) -> None:
    kind, recipe = KINDS[name]
    ran = place.run(kind, recipe(place))
    assert ran.result.outcome == "done", ran.result.message
    curves = pd.read_parquet(ran.output / "curves.parquet")
    losses = curves[curves["name"].str.contains("loss")]["value"]
    assert len(losses) and all(map(math.isfinite, losses))


@each_kind
def test_it_resumes_exactly(place: Place, name: str) -> None:
    """Stopped after its first step and resumed with nothing warm: every file and figure of the uninterrupted run."""
    kind, made = KINDS[name]
    recipe = made(place)
    whole = place.run(kind, recipe)
    checkpoint = place.interrupt(kind, recipe, 1)
    rest = place.run(kind, recipe, resume_from=checkpoint)
    assert rest.bytes() == whole.bytes()
    assert rest.result.metrics == whole.result.metrics


@pytest.mark.parametrize("name", ["sft", "dpo"])
def test_it_computes_where_it_should(place: Place, name: str) -> None:
    """A GPU's allocator has held the model; a CPU stage leaves a GPU alone."""
    kind, recipe = KINDS[name]
    assert place.peak(lambda: place.run(kind, recipe(place))) > 10_000


def peak(place: Place, recipe: Recipe, micro_batch: int) -> int:
    return place.peak(lambda: place.run(PRETRAIN, recipe, execution=place.execution(micro_batch=micro_batch)))


WIDE = ModelShape(
    hidden_size=16, layers=1, heads=2, intermediate_size=32, vocabulary_multiple=32_768, dropout=0.0
)


def test_out_of_memory_heals(place: Place) -> None:
    """A real limit between what the whole batch takes and half of it: the batch is halved, the result is its own."""
    recipe = pretrain_recipe(
        model=ModelRecipe(shape=WIDE), data=TextData(source=WORLD, block=256), training=short(2)
    )
    halves = place.run(PRETRAIN, recipe, execution=place.execution(micro_batch=2))
    low, high = (peak(place, recipe, size) for size in (2, 4))
    assert high > 1.3 * low
    with limited(place.device, (low + high) // 2):
        tried, healed = place.heal(PRETRAIN, recipe)
    assert tried == [None, 2]
    assert healed.bytes() == halves.bytes()


@pytest.mark.parametrize("name", ["sft", "dpo"])
def test_batches_without_padding_give_the_same_losses(place: Place, name: str) -> None:
    kind, recipe = {
        "sft": (SFT, sft_recipe(adapter=plain(), training=short(3, RATE))),
        "dpo": (DPO, dpo_recipe(adapter=plain(), training=short(3, RATE))),
    }[name]
    padded = place.run(kind, recipe)
    free = place.run(kind, recipe, execution=place.execution(padding_free=True))
    assert free.value("loss") == pytest.approx(padded.value("loss"), rel=1e-3)


def test_a_loss_in_chunks_is_the_same(place: Place) -> None:
    recipe = place.pretraining(training=short(3, 1e-4))
    whole = place.run(PRETRAIN, recipe)
    parts = place.run(PRETRAIN, recipe, execution=place.execution(chunked_loss=True))
    assert parts.value("loss") == pytest.approx(whole.value("loss"), rel=1e-4)


def test_compiled_layers_are_the_same(place: Place) -> None:
    recipe = sft_recipe(adapter=plain(), training=short(3, RATE))
    written = place.run(SFT, recipe)
    made = place.run(SFT, recipe, execution=place.execution(compile=True))
    assert made.value("loss") == pytest.approx(written.value("loss"), rel=1e-3)


def plain():
    return lora().model_copy(update={"dropout": 0.0})
