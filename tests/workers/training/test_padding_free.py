"""Batches without padding: the same losses and gradients, fewer tokens computed."""

import pytest
import torch
from safetensors.torch import load_file

from tests.support.training import DPO, SFT, dpo_recipe, lora, sft_recipe, short
from workers.context import BadInput
from workers.recipe import Execution
from workers.specs.model import ModelRecipe
from workers.training.padding_free import IGNORED, compute_without_padding, put_back, single_row

PADDED = Execution(device="cpu")
FREE = Execution(device="cpu", padding_free=True)


def without_dropout():
    return lora().model_copy(update={"dropout": 0.0})


def curves(ran):
    import pandas as pd

    return pd.read_parquet(ran.output / "curves.parquet")


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(("kind", "recipe"), [(SFT, sft_recipe), (DPO, dpo_recipe)], ids=["sft", "dpo"])
def test_a_training_without_padding_ends_where_the_padded_one_does(lab, base, kind, recipe, attention):
    """Losses, gradient norms, accuracies, log-probabilities and rewards of every step, and the adapter."""
    made = recipe(adapter=without_dropout(), model=ModelRecipe(attention=attention), training=short(3, 1e-3))
    padded = lab.run(kind, made, (base,), execution=PADDED)
    free = lab.run(kind, made, (base,), execution=FREE)
    left, right = curves(free), curves(padded)
    assert left[["step", "name"]].equals(right[["step", "name"]])
    assert left["value"].to_list() == pytest.approx(right["value"].to_list(), rel=2e-4, abs=1e-6)
    assert free.value("trained_tokens") == padded.value("trained_tokens")
    found, wanted = (
        load_file(one.output / "adapter" / "adapter_model.safetensors") for one in (free, padded)
    )
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)


def test_dpo_without_padding_takes_the_shared_reference_rows(lab, base, reference):
    made = dpo_recipe(adapter=without_dropout(), training=short(2, 1e-3))
    padded = lab.run(DPO, made, (base, reference), execution=PADDED)
    free = lab.run(DPO, made, (base, reference), execution=FREE)
    assert free.value("loss") == pytest.approx(padded.value("loss"), rel=1e-5)


def test_a_stage_without_padding_resumes_exactly(lab, base):
    made = dpo_recipe()
    whole = lab.run(DPO, made, (base,), execution=FREE)
    checkpoint = lab.interrupt(DPO, made, (base,), 3, memory={}, execution=FREE)
    rest = lab.run(DPO, made, (base,), resume_from=checkpoint, memory={}, execution=FREE)
    assert rest.bytes() == whole.bytes()


def test_attention_that_this_machine_cannot_compute_is_refused(lab, base):
    made = sft_recipe(model=ModelRecipe(attention="flash_attention_2"))
    with pytest.raises(
        BadInput, match=r"flash_attention_2` does not run here, on cpu .*; `sdpa` runs everywhere"
    ):
        lab.run(SFT, made, (base,), execution=FREE)


@pytest.fixture
def batch():
    ids = torch.tensor([[5, 6, 7, 0], [8, 9, 0, 0], [3, 4, 5, 6]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]])
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, IGNORED)}


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gpt2"])
def test_gradients_of_a_whole_model(batch, architecture):
    """A sliding window as long as two tokens must count within each sequence, not across the row."""
    window = {"sliding_window": 2} if architecture == "mistral" else {}
    padded, free = (fused_model(architecture, **window) for _ in range(2))
    free.load_state_dict(padded.state_dict())
    compute_without_padding(free)
    found, wanted = (one(**batch, fused_lm_head=True) for one in (free, padded))
    assert found.log_probs.shape == (3, 3)
    for name in ("log_probs", "entropy", "is_top1", "label_mask"):
        torch.testing.assert_close(found[name], wanted[name] * wanted.label_mask)
    for one in (found, wanted):
        one.log_probs.sum().backward()
    for (name, left), (_, right) in zip(free.named_parameters(), padded.named_parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad, msg=name)


def fused_model(architecture, **settings):
    from transformers import AutoConfig, AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    sizes = {"vocab_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16}
    if architecture != "gpt2":
        settings["num_key_value_heads"] = 1
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(architecture, **sizes, **settings), attn_implementation="sdpa"
    ).eval()
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    return model


def test_a_row_says_where_its_sequences_begin(batch):
    row = single_row(**rename(batch), in_bounds=True)
    assert row["input_ids"].tolist() == [[5, 6, 7, 8, 9, 3, 4, 5, 6]]
    assert row["position_ids"].tolist() == [[0, 1, 2, 0, 1, 0, 1, 2, 3]]
    assert row["labels"].tolist() == [[IGNORED, 6, 7, IGNORED, 9, IGNORED, 4, 5, 6]]
    assert row["cu_seq_lens_q"].tolist() == [0, 3, 5, 9] and row["cu_seq_lens_q"].dtype == torch.int32
    assert row["max_length_k"] == 4
    assert "cu_seq_lens_q" not in single_row(**rename(batch), in_bounds=False)


def test_values_go_back_to_their_places(batch):
    values = torch.arange(1.0, 9.0)[None]
    assert put_back(values, batch["attention_mask"].bool()).tolist() == [[1, 2, 0], [4, 0, 0], [6, 7, 8]]


def test_a_model_without_a_mask_or_without_the_fused_head_answers_as_before(batch):
    model = fused_model("llama")
    before = model(input_ids=batch["input_ids"]).logits
    compute_without_padding(model)
    assert torch.equal(model(input_ids=batch["input_ids"]).logits, before)


def rename(batch):
    return {"ids": batch["input_ids"], "labels": batch["labels"], "mask": batch["attention_mask"]}
