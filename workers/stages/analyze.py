"""Runs `analyze`: looks into a trained model and its gradients."""

from dataclasses import replace
from itertools import islice
from typing import Any

import torch

from results.records import MetricRow
from results.schema import write_curves
from workers.context import BadInput, Parent, StageContext, StageResult
from workers.data.corpus import corpus_tokenizer, training_rows, validation_rows
from workers.identity import derive_seed
from workers.models.loading import device_of, load_model, trained_directory
from workers.models.sources import committed_parent, parent_source
from workers.quantization.analyses.registry import ANALYSES
from workers.quantization.analyses.subject import IGNORED, Batch, Subject
from workers.quantization.layers import put_quantizers
from workers.quantization.rounding import Dice
from workers.specs.analyze import AnalyzeRecipe
from workers.specs.pretrain import PretrainRecipe
from workers.specs.quantized import QuantizedTraining
from workers.training.seeding import prepare
from workers.training.trainers import padded_rows


def run(recipe: AnalyzeRecipe, context: StageContext) -> StageResult:
    """Every analysis of the recipe, in its order, and `curves.parquet` with their series.

    Raises:
        BadInput: there is no pre-training in role `trained`, or its data do not fill a mini-batch.
        StageStopped: a stop was asked for; nothing is kept, since an analysis is short.
    """
    prepare(recipe)
    with context.phase("load"):
        subject = subject_of(recipe, context)
    rows: list[MetricRow] = []
    curves: list[dict[str, Any]] = []
    for number, name in enumerate(recipe.analyses, start=1):
        context.raise_if_stopped()
        with context.phase("compute"):
            found = ANALYSES[name](subject, recipe)
        rows.extend(found.rows)
        curves.extend(found.curves)
        context.progress(number, len(recipe.analyses))
    if curves:
        with context.phase("save"):
            write_curves(context.output / "curves.parquet", curves)
    return StageResult([MetricRow(**{**row, "step": recipe.step}) for row in rows])


def subject_of(recipe: AnalyzeRecipe, context: StageContext) -> Subject:
    """The trained model with its quantizers on, and its mini-batches."""
    trained = context.parent("trained")
    training = trained.stage.recipe if trained is not None else None
    if trained is None or not isinstance(training, PretrainRecipe):
        raise BadInput(
            "`analyze` looks at a pre-training: its parent in role `trained` must be of kind `pretrain`"
        )
    directory = trained_directory(context, trained, recipe.step)
    source = parent_source(replace(trained, output=directory))
    model = load_model(source, training.model, None, device_of(context)).requires_grad_(True)
    quantization = recipe.quantization or training.quantization or QuantizedTraining()
    dice = Dice(derive_seed(training.seed, "rounding"))
    put_quantizers(model, quantization, dice)
    batches = batches_of(recipe, training, _as_trained(context, trained))
    return Subject(model, training, quantization, batches, dice, context)


def batches_of(recipe: AnalyzeRecipe, training: PretrainRecipe, context: StageContext) -> list[Batch]:
    """The first mini-batches of the split, all of one size; `context` is as the training had it.

    Raises:
        BadInput: there are too few sequences for one.
    """
    tokenizer = corpus_tokenizer(training, context)
    wanted = recipe.batches * recipe.batch_size
    if recipe.split == "train":
        rows = [row["input_ids"] for row in islice(training_rows(training, context, tokenizer), wanted)]
    else:
        wide = training.training.model_copy(update={"validation_rows": wanted})
        rows = validation_rows(training.model_copy(update={"training": wide}), context, tokenizer)
    full = len(rows) // recipe.batch_size * recipe.batch_size
    if full == 0:
        raise BadInput(
            f"a mini-batch takes {recipe.batch_size} sequences; split {recipe.split!r} has {len(rows)}: "
            "lower `batch_size`"
        )
    starts = range(0, full, recipe.batch_size)
    device = device_of(context)
    return [
        _batch(number, rows[start : start + recipe.batch_size], device) for number, start in enumerate(starts)
    ]


def _batch(number: int, rows: list[torch.Tensor], device: str) -> Batch:
    found = {
        name: each.to(device) for name, each in padded_rows([{"input_ids": row} for row in rows]).items()
    }
    labels = found["labels"][:, 1:]
    kept = labels != IGNORED if "attention_mask" in found else None
    return Batch(number, found["input_ids"][:, :-1], labels, kept)


def _as_trained(context: StageContext, trained: Parent) -> StageContext:
    """The context with the training's own parents, so that its data are found."""
    roles = dict.fromkeys(role for role, _ in trained.stage.parents)
    parents = (committed_parent(context.workspace, trained.stage, role) for role in roles)
    return replace(context, parents=[parent for parent in parents if parent is not None])
