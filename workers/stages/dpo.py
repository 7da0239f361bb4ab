"""Runs `dpo`: direct preference optimisation (TRL's DPOTrainer; Rafailov et al., arXiv 2305.18290)."""

import math
from typing import Any

from trl import DPOConfig

from workers.context import StageContext, StageResult
from workers.data.prepared import tokenized_pairs
from workers.data.sampling import training_positions
from workers.data.tokenization import TokenizedPair
from workers.identity import derive_seed
from workers.models.adapters import lora_config, start_adapter
from workers.models.loading import load_tokenizer
from workers.models.quantization import precision_name
from workers.models.sources import base_source
from workers.specs.dpo import DpoRecipe
from workers.training.arguments import trainer_arguments
from workers.training.callbacks import StageCallback
from workers.training.models import model_to_train
from workers.training.padding_free import compute_without_padding
from workers.training.reference import ReferenceRows, read_reference
from workers.training.run import stage_callback, train
from workers.training.seeding import prepare
from workers.training.trainers import StageDpoTrainer, sample_dataset
from workers.training.validation import Validator, preference_losses

EXACT_TOLERANCE = 1e-3
"""Nats that the first loss may differ from ln 2 when base and adapter compute in fp32."""
LOW_PRECISION_TOLERANCE = 0.05
"""The same in 16 bits, where a sum of log-probabilities depends on the padding of its batch."""


def run(recipe: DpoRecipe, context: StageContext) -> StageResult:
    """Train and leave `output/adapter/`.

    Raises:
        BadInput: model, data or reference rows are missing, or the first loss is not ln 2.
    """
    prepare(recipe)
    source = base_source(context, recipe.model)
    with context.phase("load"):
        tokenizer = load_tokenizer(context, source.directory)
        pairs, account = tokenized_pairs(
            context, recipe.preferences, recipe.template, tokenizer, seed=recipe.seed
        )
        precision = precision_name(recipe.model.dtype, recipe.adapter.quantization)
        reference = read_reference(context.parent("reference"), source.key, precision)
        rows = training_rows(recipe, pairs, reference)
    with model_to_train(context, source, recipe.model, recipe.adapter) as model:
        with context.phase("load"):
            callback = stage_callback(context, recipe, recipe.training)
            callback.expected = (math.log(2), first_loss_tolerance(recipe))
            trainer = _trainer(
                recipe, context, model=model, tokenizer=tokenizer, rows=rows, callback=callback
            )
            trainer.take(context, rows, source.name)
            callback.validator = _validator(recipe, context, tokenizer)
            if reference is not None:
                trainer.use_reference_rows()
        result = train(context, trainer, callback)
    result.metrics.extend(account.metrics("dpo"))
    return result


def training_rows(
    recipe: DpoRecipe, pairs: list[TokenizedPair], reference: ReferenceRows | None
) -> list[dict[str, Any]]:
    """Rows for every training position, in order; with `reference` each carries its log-probabilities."""
    order = training_positions(recipe.training, recipe.preferences, pairs, recipe.seed)
    rows = [
        {"prompt_ids": pair.prompt_ids, "chosen_ids": pair.chosen_ids, "rejected_ids": pair.rejected_ids}
        | (reference.columns(pair) if reference is not None else {})
        for pair in pairs
    ]
    return [rows[place] for place in order]


def _validator(recipe: DpoRecipe, context: StageContext, tokenizer: Any) -> Validator | None:
    if recipe.training.validation_steps is None:
        return None
    pairs, _ = tokenized_pairs(
        context, recipe.preferences, recipe.template, tokenizer, seed=recipe.seed, split="validation"
    )
    rows = pairs[: recipe.training.validation_rows]
    return Validator(recipe.training, preference_losses(rows, recipe.beta))


def first_loss_tolerance(recipe: DpoRecipe) -> float:
    """How far from ln 2 the loss before the first update may be."""
    in_fp32 = recipe.model.dtype == "float32" and recipe.training.autocast == "none"
    return EXACT_TOLERANCE if in_fp32 and not recipe.adapter.quantization else LOW_PRECISION_TOLERANCE


def _trainer(
    recipe: DpoRecipe,
    context: StageContext,
    *,
    model: Any,
    tokenizer: Any,
    rows: list[dict[str, Any]],
    callback: StageCallback,
) -> StageDpoTrainer:
    arguments = DPOConfig(
        **trainer_arguments(context, recipe, recipe.training),
        beta=recipe.beta,
        loss_type=["sigmoid"],
        max_length=None,
        disable_dropout=False,
    )
    trainer = StageDpoTrainer(
        model=model,
        args=arguments,
        train_dataset=sample_dataset(rows),
        processing_class=tokenizer,
        peft_config=lora_config(recipe.adapter),
        callbacks=[callback],
    )
    start_adapter(trainer.model, derive_seed(recipe.seed, "initialisation"))
    if context.execution.padding_free:
        compute_without_padding(trainer.model.get_base_model())
    return trainer
