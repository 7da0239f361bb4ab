"""Runs `reference`: log-probabilities of the frozen start model, shared by all DPO runs on the same rows."""

import json
from typing import Any

from trl.trainer.utils import add_fused_lm_head

from workers.checkpoints import new_checkpoint
from workers.context import StageContext, StageResult, StageStopped, metric
from workers.data.prepared import tokenized_pairs
from workers.data.tokenization import TokenizedPair
from workers.models.loading import borrowed_base, load_tokenizer
from workers.models.quantization import precision_name
from workers.models.sources import base_source
from workers.specs.reference import ReferenceRecipe
from workers.training.models import without_dropout
from workers.training.reference import FILE, pair_key, reference_logps, write_reference
from workers.training.seeding import prepare

ROWS = "rows.json"
OUTPUTS = ("log_probs", "entropy", "mean_logits", "is_top1")
"""The fields that TRL's DPO trainer asks of the fused head: the same kernel, so the same bits."""
SAVE_EVERY = 50
"""Batches between two checkpoints."""


def run(recipe: ReferenceRecipe, context: StageContext) -> StageResult:
    """Compute and leave `output/logprobs.parquet`.

    Raises:
        BadInput: model or data are missing.
        StageStopped: the worker was asked to stop; finished rows lie in a checkpoint.
    """
    prepare(recipe)
    source = base_source(context, recipe.model)
    with context.phase("load"):
        tokenizer = load_tokenizer(context, source.directory)
        pairs, account = tokenized_pairs(
            context, recipe.preferences, recipe.template, tokenizer, seed=recipe.seed
        )
    with borrowed_base(context, source, recipe.model, recipe.quantization) as model:
        without_dropout(model)
        add_fused_lm_head(model, outputs=OUTPUTS)
        values = _compute(context, model, _longest_first(pairs), recipe.batch_size, tokenizer.pad_token_id)
    with context.phase("save"):
        precision = precision_name(recipe.model.dtype, recipe.quantization)
        write_reference(context.output / FILE, values, source.key, precision)
    rows = [metric("reference", len(values), metric="pairs", primary=True)]
    return StageResult(rows + account.metrics("reference"))


def _longest_first(pairs: list[TokenizedPair]) -> list[TokenizedPair]:
    """Each distinct pair once; batches of like length, the most memory at the start."""
    distinct = {pair_key(pair): pair for pair in pairs}
    return [distinct[key] for key in sorted(distinct, key=lambda key: (-distinct[key].length, key))]


def _compute(
    context: StageContext, model: Any, pairs: list[TokenizedPair], batch_size: int, pad: int
) -> dict[str, tuple[float, float]]:
    """All rows; batches that a checkpoint holds are not computed again."""
    values = _restored(context)
    rest = pairs[len(values) :]
    batches = reference_logps(model, rest, batch_size, pad)
    for number in range(1, -(-len(rest) // batch_size) + 1):
        with context.phase("compute"):
            values.update(next(batches))
        context.progress(len(values), len(pairs))
        unfinished = len(values) < len(pairs)
        if unfinished and (context.stop_requested() or number % SAVE_EVERY == 0):
            _save(context, values)
        if unfinished and context.stop_requested():
            raise StageStopped
    return values


def _save(context: StageContext, values: dict[str, tuple[float, float]]) -> None:
    with context.phase("save"), new_checkpoint(context.checkpoints, len(values)) as directory:
        (directory / ROWS).write_text(json.dumps(values))


def _restored(context: StageContext) -> dict[str, tuple[float, float]]:
    if context.resume_from is None:
        return {}
    rows = json.loads((context.resume_from / ROWS).read_text())
    return {key: (chosen, rejected) for key, (chosen, rejected) in rows.items()}
