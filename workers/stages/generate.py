"""`generate`: answer the prompts of every set and keep the answers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from results.records import MetricRow
from workers.context import BadInput, StageContext, StageResult
from workers.evaluation.benchmark import Measurement, Sample, dropped_row
from workers.evaluation.best_of import best_answers, best_rows
from workers.evaluation.candidate import Candidate
from workers.evaluation.completions import shape_rows
from workers.evaluation.drawing import Drawing
from workers.evaluation.generation import Choose, Completion, greedy
from workers.evaluation.progress import Progress, result_at, write_finished
from workers.evaluation.questions import Asked, asked
from workers.evaluation.recall import recalled
from workers.evaluation.sources import locate
from workers.models.loading import trained_model
from workers.online.reward import RewardModel, reward_model
from workers.specs.generate import GenerateRecipe, PromptSet


def run(recipe: GenerateRecipe, context: StageContext) -> StageResult:
    """Answer every prompt set of the recipe, in order, and write `samples.parquet`.

    Raises:
        BadInput: the model, the reward model or a set's prompts are missing or malformed, or two sets share a name.
        StageStopped: a stop was asked for; what was answered is in a checkpoint.
    """
    _check_names(recipe)
    torch.set_num_threads(recipe.threads)
    progress = Progress(context)
    with trained_model(context, recipe.model, recipe.quantization, step=recipe.step) as (model, tokenizer):
        candidate = Candidate(model.eval(), tokenizer, recipe, context)
        with _chooser(recipe, candidate) as reward:
            for prompts in recipe.prompts[len(progress.finished) :]:
                candidate.answers = progress.answers()
                progress.finish(_answered(prompts, recipe, candidate, reward))
    samples = [sample for finished in progress.finished for sample in finished["samples"]]
    write_finished(context, samples)
    return result_at(recipe.step, progress.finished)


@contextmanager
def _chooser(recipe: GenerateRecipe, candidate: Candidate) -> Iterator[RewardModel | None]:
    """The reward model that chooses among several answers, or None where there is one to each prompt."""
    if recipe.best_of == 1:
        yield None
    else:
        with reward_model(candidate.context, recipe.model, candidate.tokenizer, recipe.batch_size) as reward:
            yield reward


def _answered(
    prompts: PromptSet, recipe: GenerateRecipe, candidate: Candidate, reward: RewardModel | None
) -> Measurement:
    """The answers to one set and their shape; length, repetition and ending have no primary among them."""
    found = _asked(prompts, candidate)
    rows: list[MetricRow] = []
    scores: Sequence[float | None] = [None] * len(found.items)
    if reward is None:
        completions = _complete(prompts, found, recipe, candidate)
    else:
        best = best_answers(prompts, found, recipe, candidate, reward)
        completions, scores = [one.completion for one in best], [one.score for one in best]
        rows = best_rows(prompts.name, best)
    rows += shape_rows(prompts.name, completions)
    rows.append(dropped_row(prompts.name, found.dropped, len(found.items) + found.dropped))
    return Measurement(rows, _samples(prompts.name, found, completions, scores))


def _complete(
    prompts: PromptSet, found: Asked, recipe: GenerateRecipe, candidate: Candidate
) -> list[Completion]:
    choose: Choose = greedy
    if recipe.temperature > 0:
        names = [f"{prompts.name}/{item}" for item in found.items]
        choose = Drawing(recipe.temperature, recipe.top_p, prompts.new_tokens, recipe.seed, names)
    return candidate.complete(list(found.tokens), prompts.new_tokens, choose=choose)


def _asked(prompts: PromptSet, candidate: Candidate) -> Asked:
    texts = (prompts.model_dump_json(), candidate.recipe.template.model_dump_json())
    key = ("generate", locate(prompts.source, candidate.context).key(), *texts, candidate.max_length)
    memory = candidate.context.memory
    return recalled(memory, (*key, candidate.tokenizer_digest), lambda: asked(prompts, candidate))


def _samples(
    task: str, found: Asked, completions: list[Completion], scores: Sequence[float | None]
) -> list[Sample]:
    return [
        Sample(
            task=task,
            item=item,
            prompt=text,
            completion=completion.text,
            reference=None,
            score=score,
            verdict=None,
            generated=True,
            tokens=len(completion.tokens),
            ended=completion.ended,
        )
        for item, text, completion, score in zip(found.items, found.texts, completions, scores, strict=True)
    ]


def _check_names(recipe: GenerateRecipe) -> None:
    names = [prompts.name for prompts in recipe.prompts]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if not names:
        raise BadInput("the generation lists no `prompts`")
    if repeated:
        raise BadInput(f"prompt set listed twice: {', '.join(repeated)}; give each a `name` of its own")
