"""The logged losses against independent NumPy: step 3's batch on the weights after step 2, dropout off."""

import math

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.support.training import DPO, NF4, SFT, Lab, dpo_recipe, lora, reference_of, sft_recipe
from workers.context import BadInput, Parent
from workers.data.prepared import tokenized_pairs
from workers.models.adapters import attach_adapter
from workers.models.loading import borrowed_base, load_tokenizer
from workers.models.sources import parent_source
from workers.recipe import Execution
from workers.specs.model import LoraRecipe, ModelRecipe
from workers.stages import dpo, sft
from workers.training.reference import pair_key, read_reference

EXECUTION = Execution(device="cpu", snapshots=(2,))
BATCH = slice(8, 12)


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


@pytest.mark.parametrize("mask_prompt", [True, False])
def test_sft_is_the_mean_over_target_tokens(lab: Lab, base: Parent, mask_prompt: bool):
    recipe = sft_recipe(adapter=without_dropout(), mask_prompt=mask_prompt)
    ran = lab.run(SFT, recipe, (base,), execution=EXECUTION)
    context = lab.context(ran.stage, (base,))
    source = parent_source(base)
    rows = sft.training_rows(recipe, context, load_tokenizer(context, source.directory))[0][BATCH]
    with borrowed_base(context, source, ModelRecipe()) as model:
        adapted = attach_adapter(model, ran.output / "snapshots" / "000002" / "adapter")
        logps = []
        for row in rows:
            targets = [place for place, label in enumerate(row["labels"]) if label != -100 and place > 0]
            logps.append(token_logps(adapted, row["input_ids"], targets[0]))
    expected = -np.concatenate(logps).mean()
    assert curve(ran, "loss")[3] == pytest.approx(expected, rel=1e-5)


def test_dpo_is_the_published_loss(lab: Lab, base: Parent, reference: Parent):
    recipe = dpo_recipe(adapter=without_dropout(), beta=0.3)
    ran = lab.run(DPO, recipe, (base, reference), execution=EXECUTION)
    context = lab.context(ran.stage, (base, reference))
    source = parent_source(base)
    tokenizer = load_tokenizer(context, source.directory)
    pairs, _ = tokenized_pairs(context, recipe.preferences, recipe.template, tokenizer, seed=recipe.seed)
    rows = dpo.training_rows(recipe, pairs, None)[BATCH]

    def sequence(model, row, name: str) -> float:
        return token_logps(model, row["prompt_ids"] + row[name], len(row["prompt_ids"])).sum()

    def both(model) -> np.ndarray:
        return np.array(
            [[sequence(model, row, name) for name in ("chosen_ids", "rejected_ids")] for row in rows]
        )

    with borrowed_base(context, source, ModelRecipe()) as model:
        reference_logps = both(model)
        policy_logps = both(attach_adapter(model, ran.output / "snapshots" / "000002" / "adapter"))
    ratios = policy_logps - reference_logps
    h = ratios[:, 0] - ratios[:, 1]
    assert curve(ran, "loss")[3] == pytest.approx(np.log1p(np.exp(-0.3 * h)).mean(), rel=1e-5)
    assert curve(ran, "rewards/margins")[3] == pytest.approx((0.3 * h).mean(), rel=1e-4)
    assert curve(ran, "rewards/accuracies")[3] == pytest.approx((h > 0).mean())
    assert curve(ran, "logps/chosen")[3] == pytest.approx(policy_logps[:, 0].mean(), rel=1e-5)


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
