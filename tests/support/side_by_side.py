"""What plain TRL needs to train on the rows of a stage: its text in training order, and the adapter it starts from."""

from pathlib import Path

from tests.support.plain_trl import Texts
from tests.support.training import DPO, SFT, Lab
from workers.context import Parent
from workers.data.prepared import tokenized_pairs
from workers.identity import derive_seed
from workers.models.adapters import lora_config, save_adapter, start_adapter
from workers.models.loading import borrowed_base, load_tokenizer
from workers.models.sources import parent_source
from workers.specs.dpo import DpoRecipe
from workers.specs.model import ModelRecipe
from workers.specs.sft import SftRecipe
from workers.stages import dpo, sft

Ids = list[list[int]]


def sft_rows(lab: Lab, base: Parent, recipe: SftRecipe) -> tuple[Ids, Texts]:
    """Ids of every training position, and the text that they were made from."""
    context = lab.context(lab.stage(SFT, recipe, (base,)), (base,))
    tokenizer = load_tokenizer(context, parent_source(base).directory)
    masked = recipe.model_copy(update={"mask_prompt": True})
    rows = sft.training_rows(masked, context, tokenizer)[0]
    texts = []
    for row in rows:
        start = row["labels"].count(-100)
        parts = (row["input_ids"][:start], row["input_ids"][start:])
        prompt, completion = (tokenizer.decode(part, skip_special_tokens=True) for part in parts)
        texts.append({"prompt": f"{prompt} ", "completion": completion})
    return [row["input_ids"] for row in rows], texts


def dpo_rows(lab: Lab, base: Parent, recipe: DpoRecipe) -> tuple[dict[str, Ids], Texts]:
    """Ids of prompt, chosen and rejected at every training position, and the text that they were made from."""
    context = lab.context(lab.stage(DPO, recipe, (base,)), (base,))
    tokenizer = load_tokenizer(context, parent_source(base).directory)
    pairs, _ = tokenized_pairs(context, recipe.preferences, recipe.template, tokenizer, seed=recipe.seed)
    rows = dpo.training_rows(recipe, pairs, None)
    names = ("prompt", "chosen", "rejected")
    ids = {name: [row[f"{name}_ids"] for row in rows] for name in names}
    columns = [[tokenizer.decode(each, skip_special_tokens=True) for each in ids[name]] for name in names]
    texts = [
        {"prompt": f"{prompt} ", "chosen": chosen, "rejected": rejected}
        for prompt, chosen, rejected in zip(*columns, strict=True)
    ]
    return ids, texts


def first_adapter(lab: Lab, base: Parent, recipe: SftRecipe | DpoRecipe, directory: Path) -> Path:
    """The adapter that a stage of this recipe starts from, as PEFT's files."""
    from peft import get_peft_model

    assert recipe.adapter is not None
    context = lab.context(lab.stage(DPO, DpoRecipe(), (base,)), (base,))
    with borrowed_base(context, parent_source(base), ModelRecipe()) as model:
        adapted = get_peft_model(model, lora_config(recipe.adapter))
        start_adapter(adapted, derive_seed(recipe.seed, "initialisation"))
        save_adapter(adapted, directory, "base")
    return directory
