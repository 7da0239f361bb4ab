"""The logged figures of ten steps against independent NumPy: each batch on the weights before it, dropout off."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.support.training import DPO, NF4, SFT, Lab, Ran, dpo_recipe, lora, reference_of, sft_recipe, short
from workers.context import BadInput, Parent
from workers.data.prepared import tokenized_pairs
from workers.models.adapters import attach_adapter
from workers.models.loading import borrowed_base, load_tokenizer
from workers.models.sources import parent_source
from workers.recipe import Execution
from workers.specs.model import LoraRecipe, ModelRecipe
from workers.stages import dpo, sft
from workers.training.reference import pair_key, read_reference

STEPS = 10
BATCH = 4
EXECUTION = Execution(device="cpu", snapshots=tuple(range(1, STEPS)))


def without_dropout() -> LoraRecipe:
    return lora().model_copy(update={"dropout": 0.0})


def curve(ran, name: str) -> dict[int, float]:
    rows = pq.read_table(ran.output / "curves.parquet").to_pylist()
    return {row["step"]: row["value"] for row in rows if row["name"] == name}


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def token_logps(model, ids: list[int], start: int) -> np.ndarray:
    """log pi of each token from position `start` on, in float64."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0].double().numpy()
    return log_softmax(logits[start - 1 : -1])[np.arange(len(ids) - start), ids[start:]]


def policies(model: Any, ran: Ran) -> Iterator[tuple[int, Any]]:
    """(step, the model as it was before that step), from the start: the adapter adds nothing at first."""
    yield 1, model
    adapted = None
    for step in range(2, STEPS + 1):
        directory = ran.output / "snapshots" / f"{step - 1:06}" / "adapter"
        if adapted is None:
            adapted = attach_adapter(model, directory)
        else:
            adapted.load_adapter(str(directory), adapter_name=str(step))
            adapted.set_adapter(str(step))
        yield step, adapted.eval()


def batch_of(rows: list[dict[str, Any]], step: int) -> list[dict[str, Any]]:
    return rows[(step - 1) * BATCH : step * BATCH]


@pytest.mark.parametrize("mask_prompt", [True, False])
def test_sft_is_the_mean_over_target_tokens(lab: Lab, base: Parent, mask_prompt: bool):
    recipe = sft_recipe(adapter=without_dropout(), mask_prompt=mask_prompt, training=short(STEPS))
    ran = lab.run(SFT, recipe, (base,), execution=EXECUTION)
    context = lab.context(ran.stage, (base,))
    source = parent_source(base)
    rows = sft.training_rows(recipe, context, load_tokenizer(context, source.directory))[0]
    expected = {}
    with borrowed_base(context, source, ModelRecipe()) as model:
        for step, policy in policies(model, ran):
            logps = [
                token_logps(policy, row["input_ids"], max(1, row["labels"].count(-100)))
                for row in batch_of(rows, step)
            ]
            expected[step] = -np.concatenate(logps).mean()
    assert curve(ran, "loss") == pytest.approx(expected, rel=1e-5)


def test_dpo_is_the_published_loss(lab: Lab, base: Parent, reference: Parent):
    recipe = dpo_recipe(adapter=without_dropout(), beta=0.3, training=short(STEPS))
    ran = lab.run(DPO, recipe, (base, reference), execution=EXECUTION)
    context = lab.context(ran.stage, (base, reference))
    source = parent_source(base)
    tokenizer = load_tokenizer(context, source.directory)
    pairs, _ = tokenized_pairs(context, recipe.preferences, recipe.template, tokenizer, seed=recipe.seed)
    rows = dpo.training_rows(recipe, pairs, None)

    def sequence(model: Any, row: dict[str, Any], name: str) -> float:
        return float(token_logps(model, row["prompt_ids"] + row[name], len(row["prompt_ids"])).sum())

    def both(model: Any, step: int) -> np.ndarray:
        batch = batch_of(rows, step)
        return np.array(
            [[sequence(model, row, name) for name in ("chosen_ids", "rejected_ids")] for row in batch]
        )

    figures: dict[str, dict[int, float]] = {}
    with borrowed_base(context, source, ModelRecipe()) as model:
        references = {step: both(model, step) for step in range(1, STEPS + 1)}
        for step, policy in policies(model, ran):
            logps = both(policy, step)
            for name, value in published(logps, references[step], 0.3).items():
                figures.setdefault(name, {})[step] = value
    del figures["rewards/accuracies"][1]  # margins of nothing but rounding
    for name, expected in figures.items():
        found = {step: curve(ran, name)[step] for step in expected}
        assert found == pytest.approx(expected, rel=2e-5, abs=2e-5), name
    assert figures["loss"][1] == pytest.approx(math.log(2), abs=1e-12)
    assert figures["rewards/margins"][STEPS] > 0.05


def published(policy: np.ndarray, reference: np.ndarray, beta: float) -> dict[str, float]:
    """Loss and figures from summed log-probabilities (pairs, [chosen, rejected]); section 4.2 of the study."""
    rewards = beta * (policy - reference)
    margins = rewards[:, 0] - rewards[:, 1]
    return {
        "loss": float(-np.log(1 / (1 + np.exp(-margins))).mean()),
        "rewards/chosen": float(rewards[:, 0].mean()),
        "rewards/rejected": float(rewards[:, 1].mean()),
        "rewards/margins": float(margins.mean()),
        "rewards/accuracies": float((margins > 0).mean()),
        "logps/chosen": float(policy[:, 0].mean()),
        "logps/rejected": float(policy[:, 1].mean()),
    }


def test_reference_rows_are_summed_answer_logps(lab: Lab, base: Parent, reference: Parent):
    recipe = dpo_recipe()
    context = lab.context(lab.stage(DPO, recipe, (base, reference)), (base, reference))
    source = parent_source(base)
    tokenizer = load_tokenizer(context, source.directory)
    pairs, _ = tokenized_pairs(context, recipe.preferences, recipe.template, tokenizer, seed=0)
    rows = read_reference(reference, source.key, "float32")
    with borrowed_base(context, source, ModelRecipe()) as model:
        for pair in pairs[:3]:
            start = len(pair.prompt_ids)
            expected = [
                token_logps(model, pair.prompt_ids + each, start).sum()
                for each in (pair.chosen_ids, pair.rejected_ids)
            ]
            assert rows.values[pair_key(pair)] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("quantization", [None, NF4])
def test_the_first_dpo_loss_is_ln_2(lab: Lab, base: Parent, quantization):
    parents = (base, reference_of(lab, base, quantization=quantization))
    ran = lab.run(DPO, dpo_recipe(adapter=lora(quantization)), parents)
    assert curve(ran, "loss")[1] == pytest.approx(math.log(2), abs=1e-5)


def test_a_reference_of_another_precision_is_refused(lab: Lab, base: Parent, reference: Parent):
    with pytest.raises(BadInput, match="precision"):
        lab.run(DPO, dpo_recipe(adapter=lora(NF4)), (base, reference))


def test_a_reference_of_other_rows_is_refused(lab: Lab, base: Parent, reference: Parent):
    preferences = dpo_recipe().preferences.model_copy(update={"samples": 60})
    with pytest.raises(BadInput, match="no reference log-probability"):
        lab.run(DPO, dpo_recipe(preferences=preferences), (base, reference))


def test_wrong_reference_values_are_noticed_at_the_first_step(
    lab: Lab, base: Parent, reference: Parent, monkeypatch
):
    rows = read_reference(reference, parent_source(base).key, "float32")
    shifted = {key: (chosen + 1.0, rejected) for key, (chosen, rejected) in rows.values.items()}
    monkeypatch.setattr(dpo, "read_reference", lambda *others: type(rows)(shifted))
    with pytest.raises(BadInput, match="before any update"):
        lab.run(DPO, dpo_recipe(seed=4), (base, reference))
