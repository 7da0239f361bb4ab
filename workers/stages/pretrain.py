"""Runs `pretrain`: next-token training from random weights (transformers' Trainer)."""

from collections.abc import Iterator
from typing import Any

from transformers import TrainingArguments

from results.records import MetricRow
from workers.context import BadInput, StageContext, StageResult, metric
from workers.data.corpus import corpus_tokenizer, training_rows, validation_rows
from workers.identity import derive_seed
from workers.models.fresh import fresh_model
from workers.models.loading import device_of
from workers.quantization.layers import without_quantizers
from workers.quantization.projection import projected_metrics
from workers.specs.pretrain import PretrainRecipe
from workers.training.arguments import trainer_arguments
from workers.training.callbacks import StageCallback
from workers.training.chunked import compute_loss_in_chunks
from workers.training.divergence import LossWatch
from workers.training.language import sequence_losses
from workers.training.quantized import optimizer_of, quantize
from workers.training.run import stage_callback, train
from workers.training.seeding import prepare
from workers.training.trainers import PretrainTrainer, padded_rows
from workers.training.validation import Validator


def run(recipe: PretrainRecipe, context: StageContext) -> StageResult:
    """Train and leave `output/model/` with its tokenizer.

    Raises:
        BadInput: the recipe has no shape, data or tokenizer are missing, or what is asked for cannot be exact.
    """
    prepare(recipe)
    _check(recipe, context)
    with context.phase("load"):
        tokenizer = corpus_tokenizer(recipe, context)
        trainer, callback = _trainer(recipe, context, tokenizer)
    result = train(context, trainer, callback)
    tokenizer.save_pretrained(str(context.output / "model"))
    result.metrics.extend(_more_metrics(recipe, trainer, callback))
    return result


def _check(recipe: PretrainRecipe, context: StageContext) -> None:
    if recipe.model.shape is None:
        raise BadInput("`pretrain` makes a fresh model: its recipe must give `model.shape`")
    settings = recipe.quantization
    rounded = (settings.weights, settings.activations) if settings is not None else ()
    drawn = any(quantizer is not None and quantizer.rounding == "stochastic" for quantizer in rounded)
    if drawn and context.execution.gradient_checkpointing:
        raise BadInput(
            "gradient checkpointing computes the forward pass twice, and stochastic rounding of weights or "
            "activations would draw anew: leave one of them out"
        )


def _trainer(
    recipe: PretrainRecipe, context: StageContext, tokenizer: Any
) -> tuple[PretrainTrainer, StageCallback]:
    rows = training_rows(recipe, context, tokenizer)
    assert recipe.model.shape is not None
    seed = derive_seed(recipe.seed, "initialisation")
    model = fresh_model(recipe.model, recipe.model.shape, tokenizer, seed).to(device_of(context))
    rounding = quantize(model, recipe)
    chunked = context.execution.chunked_loss and recipe.plain_head
    if chunked:
        compute_loss_in_chunks(model)
    callback = stage_callback(context, recipe, recipe.training)
    trainer = PretrainTrainer(
        model=model,
        args=TrainingArguments(**trainer_arguments(context, recipe, recipe.training)),
        data_collator=padded_rows,
        train_dataset=rows,
        callbacks=[*rounding, callback],
        optimizer_cls_and_kwargs=optimizer_of(model, recipe),
    )
    trainer.take(context, rows, "")
    if recipe.divergence is not None:
        callback.watch = LossWatch(recipe.divergence, recipe.training.steps)
    if recipe.training.validation_steps is not None:
        held_out = validation_rows(recipe, context, tokenizer)
        losses = sequence_losses(held_out, recipe.training.autocast, chunked)
        callback.validator = Validator(recipe.training, losses)
    return trainer, callback


def _more_metrics(
    recipe: PretrainRecipe, trainer: PretrainTrainer, callback: StageCallback
) -> Iterator[MetricRow]:
    """Where a run diverged and its last good loss; of quantized ones what they promise, and their validation loss
    with the quantizers off.
    """
    step = trainer.state.global_step
    if callback.diverged is not None:
        good = callback.watch.last_good if callback.watch is not None else None
        yield metric("pretrain", step, metric="divergence_step", unit="steps")
        yield metric("pretrain", good, metric="last_good_loss", step=step, unit="nats")
    if recipe.quantization is None:
        return
    yield from projected_metrics(trainer.model, recipe.quantization)
    if callback.validator is not None and step == recipe.training.steps and callback.diverged is None:
        with without_quantizers(trainer.model):
            found = callback.validator.measure(trainer.model, step)
        yield MetricRow(**{**found.as_metric("pretrain"), "metric": "validation_loss_unquantized"})
