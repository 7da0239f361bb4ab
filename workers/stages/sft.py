"""Runs `sft`: supervised fine-tuning on the chosen or instructed answer (TRL's SFTTrainer)."""

from typing import Any

from trl import SFTConfig

from workers.context import BadInput, StageContext, StageResult
from workers.data.prepared import Account, tokenized_examples
from workers.data.sampling import training_positions
from workers.identity import derive_seed
from workers.models.adapters import lora_config, start_adapter
from workers.models.loading import load_tokenizer
from workers.models.sources import base_source
from workers.specs.data import InstructionData, PreferenceData
from workers.specs.sft import SftRecipe
from workers.training.arguments import trainer_arguments
from workers.training.callbacks import StageCallback
from workers.training.models import model_to_train
from workers.training.run import stage_callback, train
from workers.training.seeding import prepare
from workers.training.trainers import StageSftTrainer, sample_dataset
from workers.training.validation import Validator, answer_losses


def run(recipe: SftRecipe, context: StageContext) -> StageResult:
    """Train and leave `output/adapter/`, or without an adapter `output/model/` with its tokenizer.

    Raises:
        BadInput: model or data are missing, or the recipe gives not exactly one kind of data.
    """
    prepare(recipe)
    source = base_source(context, recipe.model)
    with context.phase("load"):
        tokenizer = load_tokenizer(context, source.directory)
        rows, account = training_rows(recipe, context, tokenizer)
    with model_to_train(context, source, recipe.model, recipe.adapter) as model:
        with context.phase("load"):
            callback = stage_callback(context, recipe, recipe.training)
            trainer = _trainer(
                recipe, context, model=model, tokenizer=tokenizer, rows=rows, callback=callback
            )
            trainer.take(context, rows, source.name)
            callback.validator = _validator(recipe, context, tokenizer)
        result = train(context, trainer, callback)
    if recipe.adapter is None:
        tokenizer.save_pretrained(str(context.output / "model"))
    result.metrics.extend(account.metrics("sft"))
    return result


def training_rows(
    recipe: SftRecipe, context: StageContext, tokenizer: Any
) -> tuple[list[dict[str, Any]], Account]:
    """Rows `input_ids`, `labels` for every training position, in order."""
    examples, account = tokenized_examples(
        context, _data(recipe), recipe.template, tokenizer, max_length=recipe.max_length, seed=recipe.seed
    )
    order = training_positions(recipe.training, recipe.preferences, examples, recipe.seed)
    rows = [example.row(recipe.mask_prompt) for example in examples]
    return [rows[place] for place in order], account


def _validator(recipe: SftRecipe, context: StageContext, tokenizer: Any) -> Validator | None:
    if recipe.training.validation_steps is None:
        return None
    examples, _ = tokenized_examples(
        context,
        _data(recipe),
        recipe.template,
        tokenizer,
        max_length=recipe.max_length,
        seed=recipe.seed,
        split="validation",
    )
    return Validator(recipe.training, answer_losses(examples[: recipe.training.validation_rows]))


def _data(recipe: SftRecipe) -> PreferenceData | InstructionData:
    given = [data for data in (recipe.preferences, recipe.instructions) if data is not None]
    if len(given) != 1:
        raise BadInput("`sft` needs exactly one of `preferences` and `instructions` in its recipe")
    return given[0]


def _trainer(
    recipe: SftRecipe,
    context: StageContext,
    *,
    model: Any,
    tokenizer: Any,
    rows: list[dict[str, Any]],
    callback: StageCallback,
) -> StageSftTrainer:
    arguments = SFTConfig(
        **trainer_arguments(context, recipe, recipe.training),
        max_length=None,
        padding_free=context.execution.padding_free,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    trainer = StageSftTrainer(
        model=model,
        args=arguments,
        train_dataset=sample_dataset(rows),
        processing_class=tokenizer,
        peft_config=lora_config(recipe.adapter) if recipe.adapter else None,
        callbacks=[callback],
    )
    if recipe.adapter is not None:
        start_adapter(trainer.model, derive_seed(recipe.seed, "initialisation"))
    return trainer
