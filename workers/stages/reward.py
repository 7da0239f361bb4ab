"""Runs `reward`: a reward model from preference pairs (TRL's RewardTrainer)."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from trl import RewardConfig, RewardTrainer

from results.records import MetricRow
from workers.context import StageContext, StageResult, metric
from workers.data.prepared import tokenized_pairs
from workers.data.sampling import training_order
from workers.data.tokenization import TokenizedPair
from workers.evaluation.batches import batched, longest_first, right_padded
from workers.evaluation.statistics import mean
from workers.identity import derive_seed
from workers.models.adapters import lora_config, start_adapter
from workers.models.loading import device_of, load_tokenizer
from workers.models.sources import base_source
from workers.ppo.backbones import load_scorer
from workers.ppo.forward import scores
from workers.specs.reward import RewardRecipe
from workers.training.arguments import trainer_arguments
from workers.training.deepspeed import whole_again, whole_tensors, zero_stage
from workers.training.run import stage_callback, train
from workers.training.seeding import prepare
from workers.training.trainers import MODEL, StageTrainer, sample_dataset

HEAD_DEVIATION = 0.02
"""Standard deviation of the fresh scoring head."""
SCORED_TOGETHER = 32
"""Answers that one forward pass scores when the held-out pairs are compared."""


class StageRewardTrainer(StageTrainer, RewardTrainer):  # type: ignore[misc]
    """TRL's RewardTrainer on tokenized rows `chosen_ids`, `rejected_ids`, each a prompt with its answer.

    What the stage leaves is a dense model; `save_dense` writes it, after the last step.
    """

    def save_weights(self, directory: Path) -> None:
        """Write `adapter/` (with the head) or `model/`; of an adapter the stage's output gets none."""
        if not self.is_adapter:
            tensors = whole_tensors(self, self.context.execution.strategy)
            if self.context.rank == 0:
                save_scorer(self.model, directory / "model", tensors)
        elif directory != self.context.output:
            super().save_weights(directory)

    def save_dense(self, directory: Path) -> None:
        """Merge an adapter into its base and write `model/`."""
        if self.is_adapter:
            self.model = self.model.merge_and_unload()
            if self.context.rank == 0:
                save_scorer(self.model, directory / "model")


def save_scorer(model: Any, directory: Path, tensors: dict[str, torch.Tensor] | None = None) -> None:
    """Write a model with a scoring head (by default its own weights) as `from_pretrained` reads it.

    Equal weights give equal bytes.
    """
    directory.mkdir(parents=True, exist_ok=True)
    found = model.state_dict() if tensors is None else tensors
    whole = {name: tensor.contiguous() for name, tensor in found.items()}
    save_file(whole, str(directory / MODEL), metadata={"format": "pt"})
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(str(directory))


def run(recipe: RewardRecipe, context: StageContext) -> StageResult:
    """Train and leave `output/model/`: a dense model with a scoring head, and its tokenizer.

    Raises:
        BadInput: model or data are missing or malformed.
    """
    prepare(recipe)
    source = base_source(context, recipe.model)
    with context.phase("load"):
        tokenizer = load_tokenizer(context, source.directory)
        pairs, account = tokenized_pairs(
            context, recipe.preferences, recipe.template, tokenizer, seed=recipe.seed
        )
        trainer, callback = _trainer(recipe, context, source.directory, tokenizer, pairs, source.name)
    result = train(context, trainer, callback)
    with context.phase("save"):
        trainer.save_dense(context.output)
        tokenizer.save_pretrained(str(context.output / "model"))
    if context.rank == 0:
        result.metrics.extend(_accuracy(recipe, context, _whole(recipe, context, trainer), tokenizer))
    result.metrics.extend(account.metrics("reward"))
    return result


def _whole(recipe: RewardRecipe, context: StageContext, trainer: StageRewardTrainer) -> Any:
    """The trained model; where its weights are divided among processes, as it was just written."""
    if zero_stage(context.execution.strategy) < 3:
        return trainer.model
    whole_again()
    exact = recipe.model.model_copy(update={"dtype": "float32"})
    return load_scorer(context.output / "model", exact, device_of(context))


def training_rows(recipe: RewardRecipe, pairs: list[TokenizedPair]) -> list[dict[str, Any]]:
    """Rows for every training position, in order: whole sequences, without end marks unless the recipe keeps them."""
    training = recipe.training
    order = training_order(
        [pair.length for pair in pairs],
        training.steps * training.batch_size,
        training.batch_size,
        recipe.seed,
        training.group_by_length,
    )
    rows = [
        {"chosen_ids": chosen, "rejected_ids": rejected}
        for chosen, rejected in (sequences(recipe, pair) for pair in pairs)
    ]
    return [rows[place] for place in order]


def sequences(recipe: RewardRecipe, pair: TokenizedPair) -> tuple[list[int], list[int]]:
    """What the reward model reads of a pair: the prompt with each answer."""
    end = None if recipe.end_mark else -1
    return pair.prompt_ids + pair.chosen_ids[:end], pair.prompt_ids + pair.rejected_ids[:end]


def _trainer(
    recipe: RewardRecipe,
    context: StageContext,
    directory: Path,
    tokenizer: Any,
    pairs: list[TokenizedPair],
    base_name: str,
) -> tuple[StageRewardTrainer, Any]:
    model = _start_model(recipe, context, directory)
    rows = training_rows(recipe, pairs)
    callback = stage_callback(context, recipe, recipe.training)
    arguments = RewardConfig(
        **trainer_arguments(context, recipe, recipe.training), max_length=None, disable_dropout=False
    )
    trainer = StageRewardTrainer(
        model=model,
        args=arguments,
        train_dataset=sample_dataset(rows),
        processing_class=tokenizer,
        peft_config=_peft(recipe),
        callbacks=[callback],
    )
    if recipe.adapter is not None:
        start_adapter(trainer.model, derive_seed(recipe.seed, "initialisation"))
    trainer.take(context, rows, base_name)
    return trainer, callback


def _start_model(recipe: RewardRecipe, context: StageContext, directory: Path) -> Any:
    """The base with a fresh head, drawn on the CPU for any device; all of it trainable without an adapter."""
    quantization = recipe.adapter.quantization if recipe.adapter else None
    model = load_scorer(directory, recipe.model, device_of(context), quantization)
    generator = torch.Generator().manual_seed(derive_seed(recipe.seed, "head"))
    drawn = torch.empty(model.score.weight.shape).normal_(0.0, HEAD_DEVIATION, generator=generator)
    with torch.no_grad():
        model.score.weight.copy_(drawn)
    return model.requires_grad_(recipe.adapter is None)


def _peft(recipe: RewardRecipe) -> Any | None:
    """PEFT's configuration; the head is trained beside the adapter."""
    if recipe.adapter is None:
        return None
    configuration = lora_config(recipe.adapter)
    configuration.task_type = "SEQ_CLS"
    configuration.modules_to_save = ["score"]
    return configuration


def _accuracy(recipe: RewardRecipe, context: StageContext, model: Any, tokenizer: Any) -> list[MetricRow]:
    """The share of held-out pairs whose chosen answer scores higher; equal scores count one half."""
    pairs, _ = tokenized_pairs(
        context, recipe.preferences, recipe.template, tokenizer, seed=recipe.seed, split="test"
    )
    rows = [row for pair in pairs for row in sequences(recipe, pair)]
    found = [0.0] * len(rows)
    with torch.inference_mode():
        model.eval()
        for places in batched(longest_first(rows), SCORED_TOGETHER):
            part = [rows[place] for place in places]
            last = torch.tensor([len(row) - 1 for row in part], device=model.device)
            ids = right_padded(part).to(model.device)
            for place, value in zip(places, scores(model, ids, last).tolist(), strict=True):
                found[place] = value
    margins = [chosen - rejected for chosen, rejected in zip(found[::2], found[1::2], strict=True)]
    share = mean([0.5 if margin == 0 else float(margin > 0) for margin in margins])
    spread = torch.tensor(found).std(correction=0)
    return [
        metric(
            "reward_accuracy", share.value, stderr=share.stderr, n=len(margins), unit="share", primary=True
        ),
        metric("reward", float(spread), metric="score_std"),
    ]
