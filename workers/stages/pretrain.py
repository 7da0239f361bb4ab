"""Runs `pretrain`: next-token training from random weights (transformers' Trainer)."""

from transformers import TrainingArguments

from workers.context import BadInput, StageContext, StageResult
from workers.data.files import source_directory
from workers.data.sampling import training_order
from workers.data.text import token_rows
from workers.identity import derive_seed
from workers.models.fresh import fresh_model
from workers.models.loading import device_of, load_tokenizer
from workers.specs.pretrain import PretrainRecipe
from workers.training.arguments import trainer_arguments
from workers.training.run import stage_callback, train
from workers.training.seeding import prepare
from workers.training.trainers import PretrainTrainer, padded_rows


def run(recipe: PretrainRecipe, context: StageContext) -> StageResult:
    """Train and leave `output/model/` with its tokenizer.

    Raises:
        BadInput: the recipe has no shape, or data or tokenizer are missing.
    """
    prepare(recipe)
    if recipe.model.shape is None:
        raise BadInput("`pretrain` makes a fresh model: its recipe must give `model.shape`")
    with context.phase("load"):
        directory = source_directory(context, recipe.tokenizer)
        inner = directory / "tokenizer"
        tokenizer = load_tokenizer(context, inner if inner.is_dir() else directory)
        sequences = token_rows(context, recipe.data, tokenizer)
        order = training_order(
            [len(sequence) for sequence in sequences],
            recipe.training.steps * recipe.training.batch_size,
            recipe.training.batch_size,
            recipe.seed,
            by_length=False,
        )
        rows = [{"input_ids": sequences[place]} for place in order]
        seed = derive_seed(recipe.seed, "initialisation")
        model = fresh_model(recipe.model, recipe.model.shape, tokenizer, seed).to(device_of(context))
        callback = stage_callback(context, recipe, recipe.training)
        trainer = PretrainTrainer(
            model=model,
            args=TrainingArguments(**trainer_arguments(context, recipe, recipe.training)),
            data_collator=padded_rows,
            train_dataset=rows,
            callbacks=[callback],
        )
        trainer.take(context, rows, "")
    result = train(context, trainer, callback)
    tokenizer.save_pretrained(str(context.output / "model"))
    return result
