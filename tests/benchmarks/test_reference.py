"""DPO that shares its reference log-probabilities against TRL's default, which computes them at every step.

    python -m pytest tests/benchmarks/test_reference.py -m benchmark -s

Same rows, same start, no dropout, equal losses; loading and tokenization are left out on both sides. The third arm
is our own trainer without the shared stage: what it adds is the cost of the reference alone.
"""

import math
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support import plain_trl
from tests.support.side_by_side import dpo_rows, first_adapter
from tests.support.training import DPO, PRETRAIN, REFERENCE, VICUNA, Lab, Ran, lora, pretrain_recipe, short
from workers.context import Parent
from workers.models.sources import parent_source
from workers.specs.data import DataSource, PreferenceData
from workers.specs.dpo import DpoRecipe
from workers.specs.model import ModelRecipe, ModelShape
from workers.specs.reference import ReferenceRecipe
from workers.world import WorldRecipe

SAMPLES = 5
BAR = 1.25
STEPS, BATCH, RATE, BETA = 20, 8, 1e-3, 0.1
SHAPE = ModelShape(hidden_size=192, layers=4, heads=4, key_value_heads=2, intermediate_size=512)
DATA = PreferenceData(
    dataset="beavertails", source=DataSource(world=WorldRecipe(preference_rows=400)), samples=STEPS * BATCH
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("reference"))


@pytest.fixture(scope="module")
def base(lab: Lab) -> Parent:
    recipe = pretrain_recipe(model=ModelRecipe(shape=SHAPE), training=short(20))
    return lab.run(PRETRAIN, recipe).parent("base")


def recipe() -> DpoRecipe:
    adapter = lora(rank=8).model_copy(update={"dropout": 0.0})
    training = short(STEPS, RATE).model_copy(update={"batch_size": BATCH})
    return DpoRecipe(adapter=adapter, preferences=DATA, template=VICUNA, beta=BETA, training=training)


def losses(ran: Ran) -> list[float]:
    rows = pq.read_table(ran.output / "curves.parquet").to_pylist()
    return [row["value"] for row in rows if row["name"] == "loss"]


def timed(lab: Lab, kind: Any, stage_recipe: Any, parents: tuple[Parent, ...]) -> tuple[float, Ran]:
    """Seconds of a stage without its loading, and the stage."""
    started = time.perf_counter()
    ran = lab.run(kind, stage_recipe, parents)
    return time.perf_counter() - started - ran.seconds.get("load", 0.0), ran


def by_trl(base: Parent, adapter: Path, texts: plain_trl.Texts) -> tuple[float, list[float]]:
    """Seconds of TRL's `train()`, and its losses."""
    settings = {"max_steps": STEPS, "per_device_train_batch_size": BATCH, "learning_rate": RATE, "beta": BETA}
    trainer = plain_trl.dpo(parent_source(base).directory, adapter, texts, **settings)
    logs = trainer.state.log_history
    [seconds] = [entry["train_runtime"] for entry in logs if "train_runtime" in entry]
    return seconds, [entry["loss"] for entry in logs if "loss" in entry]


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_sharing_the_reference(lab: Lab, base: Parent, tmp_path: Path) -> None:
    _, texts = dpo_rows(lab, base, recipe())
    adapter = first_adapter(lab, base, recipe(), tmp_path / "adapter")
    shared_recipe = ReferenceRecipe(preferences=DATA, template=VICUNA, batch_size=BATCH)
    seconds: dict[str, list[float]] = {"TRL": [], "own": [], "shared": [], "stage": []}
    for _ in range(SAMPLES):
        cost, stage = timed(lab, REFERENCE, shared_recipe, (base,))
        shared, with_shared = timed(lab, DPO, recipe(), (base, stage.parent("reference")))
        own, without = timed(lab, DPO, recipe(), (base,))
        theirs, expected = by_trl(base, adapter, texts)
        for ran in (with_shared, without):
            np.testing.assert_allclose(losses(ran), expected, rtol=2e-5, atol=2e-5)
        for name, value in (("TRL", theirs), ("own", own), ("shared", shared), ("stage", cost)):
            seconds[name].append(value)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = statistics.median(
        theirs / shared for theirs, shared in zip(seconds["TRL"], seconds["shared"], strict=True)
    )
    pays = median["stage"] / (median["own"] - median["shared"])
    print(
        f"\n{STEPS} DPO steps of {BATCH} pairs: TRL's default {median['TRL']:.2f} s, ours computing the reference "
        f"{median['own']:.2f} s, sharing it {median['shared']:.2f} s: {ratio:.2f} times faster than TRL's default\n"
        f"the shared stage takes {median['stage']:.2f} s: it pays from {math.ceil(pays)} runs on ({pays:.2f})"
    )
    assert ratio >= BAR
