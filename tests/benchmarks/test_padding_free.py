"""Tokens a second of SFT and DPO without padding, against TRL's padded batches of rows grouped by length.

    python -m pytest tests/benchmarks/test_padding_free.py -m 'gpu and benchmark' -s

SmolLM2-135M (YATES_SMOLLM2) in bfloat16 with flash attention, rows as long as HH-RLHF's harmless pairs.
"""

import random
import statistics
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from orchestrator.bench.measurement import now, step_seconds
from orchestrator.cost.lengths import HH_HARMLESS, Lengths
from tests.support.smollm import smollm2
from tests.support.training import DPO, SFT, Lab, dpo_recipe, lora, sft_recipe
from workers.data.sampling import training_order
from workers.kinds import Kind
from workers.models.loading import load_tokenizer
from workers.models.sources import ModelSource
from workers.recipe import Execution
from workers.specs.model import ModelRecipe
from workers.specs.training import Training
from workers.training.models import model_to_train
from workers.training.run import run_steps, stage_callback
from workers.training.seeding import prepare

STEPS, BATCH, ROUNDS, BAR = 24, 16, 3, 1.15
MODEL = ModelRecipe(dtype="bfloat16", attention="flash_attention_2")
TRAINING = Training(steps=STEPS, batch_size=BATCH, learning_rate=1e-4)
SETTINGS: dict[str, Any] = {"model": MODEL, "adapter": lora(), "training": TRAINING}


@pytest.mark.gpu
@pytest.mark.benchmark
@pytest.mark.parametrize("kind", [SFT, DPO], ids=["sft", "dpo"])
def test_tokens_a_second_without_padding(kind: Kind, tmp_path: Path) -> None:
    """At least 1.15 times TRL's with length grouping."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a GPU: torch.cuda finds none")
    if find_spec("flash_attn") is None:
        pytest.skip("needs flash attention (the package flash-attn)")
    model, recipe = smollm2(), sft_recipe(**SETTINGS) if kind is SFT else dpo_recipe(**SETTINGS)
    speeds: dict[bool, list[float]] = {False: [], True: []}
    for one in range(ROUNDS):
        for free in (False, True):
            run = Execution(device="cuda", padding_free=free)
            speeds[free].append(tokens_a_second(Lab(tmp_path / f"{one}{free}"), model, kind, recipe, run))
    padded, free_of_it = (statistics.median(speeds[free]) for free in (False, True))
    ratio = free_of_it / padded
    print(
        f"{kind.name} on {torch.cuda.get_device_name(0)}: {free_of_it:.0f} tokens/s against {padded:.0f}: {ratio:.2f}"
    )
    assert ratio >= BAR


def tokens_a_second(lab: Lab, model: Path, kind: Kind, recipe: Any, execution: Execution) -> float:
    """Tokens of rows, padding apart, in the median step."""
    moments: list[tuple[int, float]] = []
    context = lab.context(lab.stage(kind, recipe), (), execution=execution)
    context.on_progress = lambda step, total: moments.append((step, now()))
    rows = ordered(kind, recipe)
    source = ModelSource("smollm2", "smollm2", model)
    prepare(recipe)
    with model_to_train(context, source, recipe.model, recipe.adapter) as loaded:
        callback = stage_callback(context, recipe, recipe.training)
        trainer = import_module(f"workers.stages.{kind.name}")._trainer(
            recipe,
            context,
            model=loaded,
            tokenizer=load_tokenizer(context, model),
            rows=rows,
            callback=callback,
        )
        trainer.take(context, rows, source.name)
        if kind is DPO:
            trainer.use_reference_rows()
        run_steps(context, trainer, callback)
    seconds = step_seconds(moments)
    assert seconds is not None
    return (
        sum(map(length, rows)) / len(rows) * recipe.training.batch_size * (2 if kind is DPO else 1) / seconds
    )


def ordered(kind: Kind, recipe: Any) -> list[dict[str, Any]]:
    """Rows of random ids, grouped by length as TRL does it."""
    drawn = random.Random(0)
    rows = [row_of(kind, drawn) for _ in range(recipe.training.steps * recipe.training.batch_size)]
    order = training_order(
        [length(row) for row in rows], len(rows), recipe.training.batch_size, recipe.seed, by_length=True
    )
    return [rows[place] for place in order]


def row_of(kind: Kind, drawn: random.Random) -> dict[str, Any]:
    chosen, rejected = (ids(drawn, lengths) for lengths in (HH_HARMLESS.chosen, HH_HARMLESS.longer))
    if kind is SFT:
        return {"input_ids": chosen, "labels": chosen}
    half = min(len(chosen), len(rejected)) // 2
    sides = {"prompt_ids": chosen[:half], "chosen_ids": chosen[half:], "rejected_ids": rejected[half:]}
    return sides | {"ref_chosen_logps": -50.0, "ref_rejected_logps": -60.0}


def ids(drawn: random.Random, lengths: Lengths) -> list[int]:
    return [drawn.randrange(10, 40_000) for _ in range(int(drawn.choice(lengths.parts)))]


def length(row: dict[str, Any]) -> int:
    """Tokens of a row; of a pair those of a side, on average."""
    if "input_ids" in row:
        return len(row["input_ids"])
    return len(row["prompt_ids"]) + (len(row["chosen_ids"]) + len(row["rejected_ids"])) // 2
