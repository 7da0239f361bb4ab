"""The first ten steps of SFT and DPO against plain TRL: same text, same order, same start, no dropout."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support import plain_trl
from tests.support.side_by_side import dpo_rows, first_adapter, sft_rows
from tests.support.training import DPO, SFT, Lab, Ran, dpo_recipe, lora, sft_recipe, short
from workers.context import Parent
from workers.models.sources import parent_source

STEPS = 10
ADAPTER = lora().model_copy(update={"dropout": 0.0})
SETTINGS = {"max_steps": STEPS, "per_device_train_batch_size": 4, "learning_rate": 5e-3}
FIGURES = ("loss", "rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected")


def curve(ran: Ran, name: str) -> list[float]:
    rows = pq.read_table(ran.output / "curves.parquet").to_pylist()
    return [row["value"] for row in rows if row["name"] == name]


def logged(trainer: Any, name: str) -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def same(found: list[float], expected: list[float], tolerance: float = 2e-5) -> None:
    assert len(found) == len(expected) == STEPS
    assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("mask_prompt", [True, False])
def test_sft_goes_as_plain_trl(lab: Lab, base: Parent, tmp_path: Path, mask_prompt: bool) -> None:
    recipe = sft_recipe(adapter=ADAPTER, mask_prompt=mask_prompt, training=short(STEPS))
    ran = lab.run(SFT, recipe, (base,))
    ids, texts = sft_rows(lab, base, recipe)
    adapter = first_adapter(lab, base, recipe, tmp_path / "adapter")
    model = parent_source(base).directory
    plain = plain_trl.sft(model, adapter, texts, completion_only_loss=mask_prompt, **SETTINGS)
    assert list(plain.train_dataset["input_ids"]) == ids
    same(curve(ran, "loss"), logged(plain, "loss"))


def test_dpo_goes_as_plain_trl(lab: Lab, base: Parent, reference: Parent, tmp_path: Path) -> None:
    """Ours reads the reference from the shared stage, TRL's computes it at each step with the adapter off."""
    recipe = dpo_recipe(adapter=ADAPTER, beta=0.3, training=short(STEPS))
    ran = lab.run(DPO, recipe, (base, reference))
    ids, texts = dpo_rows(lab, base, recipe)
    adapter = first_adapter(lab, base, recipe, tmp_path / "adapter")
    plain = plain_trl.dpo(parent_source(base).directory, adapter, texts, beta=0.3, **SETTINGS)
    for name, expected in ids.items():
        assert list(plain.train_dataset[f"{name}_ids"]) == expected
    for figure in FIGURES:
        same(curve(ran, figure), logged(plain, figure))
    signs = "rewards/accuracies"  # before the first update margins are nothing but rounding
    assert curve(ran, signs)[1:] == logged(plain, signs)[1:]
    assert logged(plain, "rewards/margins")[-1] > 0.05
