"""Runs `rloo` and `grpo`: online methods by TRL's trainers against a reward model."""

import math
from typing import Any

from trl import GRPOConfig, RLOOConfig

from results.records import MetricRow, Outcome
from results.schema import write_curves, write_samples
from workers.context import BadInput, StageContext, StageResult, metric
from workers.identity import derive_seed
from workers.models.adapters import lora_config, start_adapter
from workers.models.loading import load_tokenizer
from workers.models.sources import base_source
from workers.online.reward import RewardModel, reward_model
from workers.online.rows import GenerationRows
from workers.online.trainers import OnlineTrainer, StageGrpoTrainer, StageRlooTrainer
from workers.ppo.backbones import reward_parent
from workers.ppo.checks import Diverged, check_positions
from workers.ppo.measures import rollout_samples
from workers.ppo.prompts import Tokens, load_prompts
from workers.specs.online import GrpoRecipe, OnlineRecipe, RlooRecipe
from workers.specs.ppo import PpoRecipe, Rollout
from workers.training.arguments import trainer_arguments
from workers.training.callbacks import StageCallback
from workers.training.models import model_to_train
from workers.training.run import curve_rows, run_steps
from workers.training.seeding import prepare
from workers.training.trainers import sample_dataset

SCORED_TOGETHER = 32
LAST_STEPS = 10
"""A run's figures are means over its last generations, so many of them, as PPO's are."""
COLUMNS = {"score": "", "true_kl": "nats", "entropy": "nats", "response_length": "tokens"}
"""Figures that are columns of `results.load`, with their units: those of `ppo`."""
FURTHER = {"ended": "share", "loss": ""}


def run(recipe: OnlineRecipe, context: StageContext) -> StageResult:
    """Train and leave `output/adapter/`, curves, and samples of the last generation.

    Raises:
        BadInput: a parent, model or data are missing or do not fit.
        StageStopped: the worker was asked to stop; a checkpoint is left.
    """
    prepare(recipe)
    _check(recipe, context)
    source = base_source(context, recipe.model)
    with context.phase("load"):
        tokenizer = load_tokenizer(context, source.directory)
        prompts, account = load_prompts(context, _as_prompts(recipe), tokenizer)
    with (
        model_to_train(context, source, recipe.model, recipe.adapter) as model,
        reward_model(context, recipe.model, tokenizer, SCORED_TOGETHER) as reward,
    ):
        check_positions(model, prompts, recipe.max_completion_length)
        with context.phase("load"):
            callback = StageCallback(context, recipe.seed, recipe.training.steps, math.inf)
            trainer = _trainer(recipe, context, model=model, tokenizer=tokenizer, callback=callback)
            _give(trainer, recipe, context, prompts=prompts, reward=reward, base=source.name)
        diverged = _train(context, trainer, callback)
        with context.phase("save"):
            _write(context, trainer)
    outcome: Outcome = "done" if diverged is None else "diverged"
    kind = context.stage.kind.name
    return StageResult([*_metrics(kind, trainer), *account.metrics(kind)], outcome, diverged)


def _train(context: StageContext, trainer: Any, callback: StageCallback) -> str | None:
    """Why the training diverged, or None."""
    try:
        run_steps(context, trainer, callback)
    except Diverged as reason:
        return str(reason)
    return callback.diverged


def _check(recipe: OnlineRecipe, context: StageContext) -> None:
    kind = context.stage.kind.name
    if (recipe.preferences is None) == (recipe.instructions is None):
        raise BadInput(f"`{kind}` needs exactly one of `preferences` and `instructions` in its recipe")
    reward_parent(context)


def _as_prompts(recipe: OnlineRecipe) -> PpoRecipe:
    """The settings of the prompts, in PPO's terms: both read them alike."""
    return PpoRecipe(
        seed=recipe.seed,
        preferences=recipe.preferences,
        instructions=recipe.instructions,
        template=recipe.template,
        rollout=Rollout(prompt_tokens=recipe.prompt_tokens),
    )


def _trainer(
    recipe: OnlineRecipe, context: StageContext, *, model: Any, tokenizer: Any, callback: StageCallback
) -> Any:
    shared = trainer_arguments(context, recipe, recipe.training) | {
        "num_generations": recipe.num_generations,
        "generation_batch_size": recipe.generated_together,
        "max_completion_length": recipe.max_completion_length,
        "temperature": recipe.temperature,
        "num_iterations": recipe.num_iterations,
        "epsilon": recipe.epsilon,
        "epsilon_high": recipe.epsilon_high,
        "mask_truncated_completions": recipe.mask_truncated_completions,
        "disable_dropout": False,
    }
    if isinstance(recipe, RlooRecipe):
        trainer_class, arguments = StageRlooTrainer, RLOOConfig(**shared, **_own(recipe, RLOO_SETTINGS))
    else:
        trainer_class, arguments = StageGrpoTrainer, GRPOConfig(**shared, **_own(recipe, GRPO_SETTINGS))
    return trainer_class(
        model=model,
        reward_funcs=_unused,
        args=arguments,
        train_dataset=sample_dataset([{"prompt": [0]}]),
        processing_class=tokenizer,
        peft_config=lora_config(recipe.adapter),
        callbacks=[callback],
    )


RLOO_SETTINGS = tuple(set(RlooRecipe.model_fields) - set(OnlineRecipe.model_fields))
GRPO_SETTINGS = tuple(set(GrpoRecipe.model_fields) - set(OnlineRecipe.model_fields))


def _own(recipe: OnlineRecipe, names: tuple[str, ...]) -> dict[str, Any]:
    """The method's own settings under TRL's names, which are ours."""
    return {name: getattr(recipe, name) for name in names}


def _unused(**others: Any) -> list[float]:
    """What TRL calls rewards by; ours come from the reward model (`OnlineTrainer`)."""
    raise AssertionError("the reward model scores completions")


def _give(
    trainer: Any,
    recipe: OnlineRecipe,
    context: StageContext,
    *,
    prompts: list[Tokens],
    reward: RewardModel,
    base: str,
) -> None:
    """Put the adapter to its seeded start, and give the trainer its rows and what it draws and scores with."""
    start_adapter(trainer.model, derive_seed(recipe.seed, "initialisation"))
    rows = GenerationRows(prompts, recipe, trainer.args.gradient_accumulation_steps)
    trainer.take(context, rows, base)
    trainer.go_online(recipe, reward)


def _write(context: StageContext, trainer: OnlineTrainer) -> None:
    trainer.save_weights(context.output)
    write_curves(context.output / "curves.parquet", curve_rows(trainer.state.log_history))
    rows = rollout_samples(trainer.processing_class, trainer.last, trainer.last_scores)
    write_samples(context.output / "samples.parquet", rows)


def _metrics(kind: str, trainer: OnlineTrainer) -> list[MetricRow]:
    step = trainer.state.global_step
    rows = [_mean(trainer, name, unit, name, "value", primary=True) for name, unit in COLUMNS.items()] + [
        _mean(trainer, name, unit, kind, name) for name, unit in FURTHER.items()
    ]
    trainable = sum(each.numel() for each in trainer.model.parameters() if each.requires_grad)
    rows.append(metric(kind, trainable, metric="trainable_parameters", unit="parameters"))
    rows.append(metric(kind, trainer.sampled_tokens, metric="sampled_tokens", step=step, unit="tokens"))
    return rows


def _mean(
    trainer: OnlineTrainer, name: str, unit: str, task: str, measured: str, primary: bool = False
) -> MetricRow:
    """The mean of the last logged values of one name; None where there is none."""
    values = [entry[name] for entry in trainer.state.log_history if name in entry][-LAST_STEPS:]
    mean = sum(values) / len(values) if values else None
    step = trainer.state.global_step
    return metric(task, mean, metric=measured, n=len(values), step=step, unit=unit, primary=primary)
