"""A stage gives the same bits alone in a fresh process and late in a warm one, and leaves its base alone."""

import torch

from tests.support.training import (
    DPO,
    NF4,
    SFT,
    Lab,
    Ran,
    dpo_recipe,
    lora,
    reference_of,
    run_fresh,
    sft_recipe,
)
from workers.models.loading import borrowed_base, trained_model
from workers.models.sources import parent_source
from workers.recipe import Execution
from workers.specs.evaluate import EVALUATE, EvaluateRecipe
from workers.specs.model import ModelRecipe


def state_of(model) -> dict:
    """Everything about a model that training touches, in a comparable form."""
    modules = {
        name: (
            type(module).__name__,
            module.training,
            sorted(key for key in module.__dict__ if not key.startswith("_is_")),
            [
                len(module.__dict__[hooks])
                for hooks in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
            ],
            getattr(module, "p", None),
            str(getattr(module, "compute_dtype", None)),
        )
        for name, module in model.named_modules()
    }
    parameters = {
        name: (id(each), each.requires_grad, each.grad is None, each.detach().clone().view(-1).tolist()[:50])
        for name, each in model.named_parameters()
    }
    return {
        "modules": modules,
        "parameters": parameters,
        "config": model.config.to_dict(),
        "generation": model.generation_config.to_dict(),
    }


def mixed_load(lab: Lab, base) -> None:
    """Many other stages on the same two bases, and evaluations of one of them in both precisions."""
    quantized = (base, reference_of(lab, base, quantization=NF4))
    trained = lab.run(SFT, sft_recipe(seed=21, adapter=lora(NF4)), (base,))
    lab.run(DPO, dpo_recipe(seed=22, adapter=lora(NF4)), quantized)
    lab.run(DPO, dpo_recipe(seed=23), (base,), execution=Execution(device="cpu", gradient_checkpointing=True))
    lab.run(SFT, sft_recipe(seed=24, adapter=None), (base,))
    parent = trained.parent("trained")
    for quantization in (None, NF4):
        stage = lab.stage(EVALUATE, EvaluateRecipe(quantization=quantization), (parent,))
        with trained_model(lab.context(stage, (parent,)), ModelRecipe(), quantization) as (model, tokenizer):
            ids = tokenizer("USER: how can i", return_tensors="pt")["input_ids"]
            model.generate(input_ids=ids, max_new_tokens=4, do_sample=False)


def test_late_in_a_warm_worker_equals_alone_in_a_fresh_process(lab: Lab, base):
    parents = (base, reference_of(lab, base, quantization=NF4))
    first = lab.run(DPO, dpo_recipe(adapter=lora(NF4), seed=9), parents)
    mixed_load(lab, base)
    late = lab.run(DPO, dpo_recipe(adapter=lora(NF4), seed=9), parents)
    assert late.bytes() == first.bytes()
    assert run_fresh(lab, first.stage, "alone") == 0
    alone = Ran(first.stage, lab.workspace.attempt(first.stage.id, "alone") / "output", first.result, {})
    assert alone.bytes() == late.bytes()


def test_bases_come_back_exactly(tmp_path, lab: Lab, base):
    for quantization in (None, NF4):
        context = lab.context(lab.stage(SFT, sft_recipe(), (base,)), (base,))
        with borrowed_base(context, parent_source(base), ModelRecipe(), quantization) as model:
            before = state_of(model)
            fused = "forward" in model.__dict__
        lab.run(SFT, sft_recipe(seed=31, adapter=lora(quantization)), (base,))
        lab.run(DPO, dpo_recipe(seed=32, adapter=lora(quantization)), (base,))
        with borrowed_base(context, parent_source(base), ModelRecipe(), quantization) as again:
            assert again is model
            assert state_of(again) == before
            assert ("forward" in again.__dict__) == fused


def test_the_cache_holds_few_models(lab: Lab, base):
    mixed_load(lab, base)
    assert len(lab.memory["workers.models.models"]) <= 2


def test_the_seed_of_each_use_is_its_own(lab: Lab, base):
    """Another dropout rate leaves initialisation and order alone."""
    few = lab.run(SFT, sft_recipe(adapter=lora().model_copy(update={"dropout": 0.0})), (base,))
    many = lab.run(SFT, sft_recipe(adapter=lora().model_copy(update={"dropout": 0.5})), (base,))
    first = [ran.bytes()["curves.parquet"] for ran in (few, many)]
    assert first[0] != first[1]
    assert few.value("trained_tokens") == many.value("trained_tokens")


def test_threads_follow_the_recipe(lab: Lab, base):
    torch.set_num_threads(2)
    lab.run(SFT, sft_recipe(seed=41), (base,))
    assert torch.get_num_threads() == 1
