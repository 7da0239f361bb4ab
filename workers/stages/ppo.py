"""Runs `ppo`: two adapters on two frozen backbones, trained against a reward model (LoRA PPO study)."""

from typing import Any

from safetensors.torch import save_file

from results.records import Outcome
from results.schema import write_curves, write_samples
from workers.context import StageContext, StageResult, metric
from workers.ppo.backbones import Models, borrowed_models
from workers.ppo.checks import Diverged
from workers.ppo.loop import Loop
from workers.ppo.measures import rollout_samples
from workers.ppo.prompts import load_prompts
from workers.specs.ppo import PpoRecipe
from workers.training.run import bring_snapshots
from workers.training.seeding import prepare

LAST_STEPS = 10
"""A run's figures are means over its last rollouts, so many steps of them."""
SUMMARY = {
    "score": "",
    "true_kl": "nats",
    "entropy": "nats",
    "response_length": "tokens",
    "ended": "share",
    "explained_variance": "",
    "policy_clipped": "share",
    "value_clipped": "share",
}
"""Figures of the last steps that become metrics, with their units; the first four are columns of `results.load`."""
COLUMNS = 4


def run(recipe: PpoRecipe, context: StageContext) -> StageResult:
    """Train and leave `output/adapter/` (the policy's), `value.safetensors`, curves and samples of the last rollout.

    Raises:
        BadInput: a parent, model or data are missing or do not fit.
        StageStopped: the worker was asked to stop; a checkpoint is left.
    """
    prepare(recipe)
    with borrowed_models(context, recipe) as models:
        with context.phase("load"):
            prompts, account = load_prompts(context, recipe, models.tokenizer)
        loop = Loop(context, recipe, models, prompts, _end_mark(context))
        loop.restore()
        if context.resume_from is not None:
            bring_snapshots(context, loop.label)
        context.progress(loop.state.step, recipe.training.steps)
        message = _run(loop)
        with context.phase("save"):
            _write(context, loop, models)
        outcome: Outcome = "done" if message is None else "diverged"
        return StageResult(_metrics(loop) + account.metrics("ppo"), outcome, message)


def _run(loop: Loop) -> str | None:
    """Why the run diverged, or None."""
    try:
        loop.run()
    except Diverged as reason:
        return str(reason)
    return None


def _end_mark(context: StageContext) -> bool:
    """Whether the reward model was trained to see end marks."""
    parent = context.parent("reward")
    return bool(parent is not None and getattr(parent.stage.recipe, "end_mark", False))


def _write(context: StageContext, loop: Loop, models: Models) -> None:
    models.save_weights(context.output)
    value = {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in loop.parameters.items()
        if not name.startswith("policy.")
    }
    save_file(value, context.output / "value.safetensors", metadata={"format": "pt"})
    rows = [
        {"step": int(row["step"]), "name": name, "value": value}
        for row in loop.state.curves
        for name, value in sorted(row.items())
        if name != "step"
    ]
    write_curves(context.output / "curves.parquet", rows)
    write_samples(
        context.output / "samples.parquet", rollout_samples(models.tokenizer, loop.last, loop.last_scores)
    )


def _metrics(loop: Loop) -> list[Any]:
    last, step = loop.state.curves[-LAST_STEPS:], loop.state.step
    rows = []
    for place, (name, unit) in enumerate(SUMMARY.items()):
        values = [row[name] for row in last if name in row]
        mean = sum(values) / len(values) if values else None
        column = place < COLUMNS
        task, measured = (name, "value") if column else ("ppo", name)
        rows.append(metric(task, mean, metric=measured, n=len(values), step=step, unit=unit, primary=column))
    trainable = sum(parameter.numel() for parameter in loop.parameters.values())
    rows.append(metric("ppo", trainable, metric="trainable_parameters", unit="parameters"))
    rows.append(metric("ppo", loop.state.tokens, metric="sampled_tokens", step=step, unit="tokens"))
    return rows
