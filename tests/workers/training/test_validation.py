"""The loss on the validation split: what it is, which rows it is of, and that it changes nothing else."""

import math

import pytest
import torch

from tests.support.training import DPO, PREFERENCES, SFT, VICUNA, dpo_recipe, reference_of, sft_recipe, short
from workers.context import BadInput
from workers.data.preferences import load_pairs
from workers.data.prepared import tokenized_examples, tokenized_pairs
from workers.models.loading import read_tokenizer
from workers.specs.data import InstructionData
from workers.training.validation import Validator, preference_losses

SHARED = PREFERENCES.model_copy(update={"validation": 0.3})


def validated(recipe, **others):
    training = recipe.training.model_copy(update={"validation_steps": 3, **others})
    return recipe.model_copy(update={"training": training, "preferences": SHARED})


def test_every_prompt_is_on_one_side(lab, base):
    context = lab.context(lab.stage(SFT, sft_recipe(), (base,)), (base,))
    sides = {split: load_pairs(context, SHARED, split).pairs for split in ("train", "validation")}
    prompts = {split: {pair.prompt for pair in pairs} for split, pairs in sides.items()}
    assert prompts["train"] and prompts["validation"]
    assert not prompts["train"] & prompts["validation"]
    everything = load_pairs(context, PREFERENCES, "train").pairs
    assert sum(map(len, sides.values())) == len(everything)
    unseen = {pair.prompt for pair in load_pairs(context, SHARED, "test").pairs}
    assert unseen == {pair.prompt for pair in load_pairs(context, PREFERENCES, "test").pairs}


def test_measuring_changes_no_number_of_the_training(lab, base):
    measured = lab.run(SFT, validated(sft_recipe()), (base,))
    plain = lab.run(SFT, sft_recipe(preferences=SHARED), (base,))
    adapter = "adapter/adapter_model.safetensors"
    assert measured.bytes()[adapter] == plain.bytes()[adapter]
    assert measured.value("loss") == plain.value("loss")


@pytest.mark.parametrize("at", [3, 4])
def test_a_resumed_training_measured_the_same(lab, base, at):
    recipe = validated(sft_recipe())
    whole = lab.run(SFT, recipe, (base,))
    checkpoint = lab.interrupt(SFT, recipe, (base,), at, memory={})
    resumed = lab.run(SFT, recipe, (base,), resume_from=checkpoint, memory={})
    assert resumed.bytes() == whole.bytes()
    assert resumed.result.metrics == whole.result.metrics


def test_it_is_measured_every_few_steps_and_after_the_last(lab, base):
    reports = []
    lab.run(
        SFT, validated(sft_recipe()), (base,), on_report=lambda step, values: reports.append((step, values))
    )
    assert [step for step, _ in reports] == [3, 6, 8]
    assert all(set(values) == {"validation_loss"} for _, values in reports)


def test_sfts_loss_is_the_mean_over_each_answers_tokens(lab, base):
    ran = lab.run(SFT, validated(sft_recipe()), (base,))
    context = lab.context(ran.stage, (base,))
    model, tokenizer = trained(ran, base)
    rows, _ = tokenized_examples(
        context, SHARED, VICUNA, tokenizer, max_length=2048, seed=0, split="validation"
    )
    losses = []
    for row in rows:
        ids = torch.tensor([[*row.prompt_ids, *row.response_ids]])
        log_probabilities = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
        picked = log_probabilities.gather(1, ids[0, 1:, None])[-len(row.response_ids) :, 0]
        losses.append(-picked.mean().item())
    assert ran.value("validation_loss") == pytest.approx(sum(losses) / len(losses), rel=1e-4)


def test_dpos_loss_is_that_of_its_pairs(lab, base):
    reference = reference_of(lab, base, preferences=SHARED)
    recipe = validated(dpo_recipe())
    ran = lab.run(DPO, recipe, (base, reference))
    context = lab.context(ran.stage, (base, reference))
    model, tokenizer = trained(ran, base)
    pairs, _ = tokenized_pairs(context, SHARED, VICUNA, tokenizer, seed=0, split="validation")

    def log_probability(prompt, answer):
        ids = torch.tensor([[*prompt, *answer]])
        rows = model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
        return rows[-len(answer) :, 0].sum().item()

    def margin(pair):
        return log_probability(pair.prompt_ids, pair.chosen_ids) - log_probability(
            pair.prompt_ids, pair.rejected_ids
        )

    with torch.no_grad():
        now = [margin(pair) for pair in pairs]
        with model.disable_adapter():
            before = [margin(pair) for pair in pairs]
    losses = [
        math.log1p(math.exp(-recipe.beta * (after - start))) for after, start in zip(now, before, strict=True)
    ]
    assert ran.value("validation_loss") == pytest.approx(sum(losses) / len(losses), rel=1e-4)


@pytest.mark.parametrize(("every", "due"), [(2, [2, 4, 6, 8]), (3, [3, 6, 8]), (100, [8]), (None, [])])
def test_when_it_is_due(every, due):
    validator = Validator(short(8, validation_steps=every), preference_losses([], 0.1))
    assert [step for step in range(1, 9) if validator.due(step)] == due


def test_a_recipe_without_a_split_is_refused(lab, base):
    recipe = sft_recipe(training=short(validation_steps=2))
    with pytest.raises(BadInput, match="give the preferences a share"):
        lab.run(SFT, recipe, (base,))


def test_instructions_have_no_split(lab, base):
    source = PREFERENCES.source
    recipe = sft_recipe(
        preferences=None,
        adapter=None,
        instructions=InstructionData(source=source),
        training=short(validation_steps=2),
    )
    with pytest.raises(BadInput, match="no validation split"):
        lab.run(SFT, recipe, (base,))


def trained(ran, base):
    """The trained model, by transformers and PEFT alone."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    directory = base.output / "model"
    model = AutoModelForCausalLM.from_pretrained(str(directory), dtype=torch.float32)
    with_adapter = PeftModel.from_pretrained(model, str(ran.output / "adapter"))
    with_adapter.eval()
    return with_adapter, read_tokenizer(directory)
