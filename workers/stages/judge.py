"""`judge`: verdicts on kept answers."""

from collections.abc import Sequence

from results.records import MetricRow
from workers.context import StageContext, StageResult, metric
from workers.evaluation.benchmark import Measurement, Sample, estimate_row
from workers.evaluation.progress import Progress, result_at, write_finished
from workers.evaluation.statistics import mean
from workers.judging import pairwise, single
from workers.judging.items import Item, Items, items_of, shape_rows_of, step_of
from workers.judging.judge import Judge, Opinion, open_judge
from workers.judging.pairwise import Compared
from workers.specs.judge import JudgeRecipe


def run(recipe: JudgeRecipe, context: StageContext) -> StageResult:
    """Judge every answer and write `samples.parquet`: answers with verdict and score.

    Raises:
        BadInput: answers, references, the judge or its key are missing or malformed.
        TransientFailure: a service does not answer; what it said before is kept.
        StageStopped: a stop was asked for; what was judged is in a checkpoint.
    """
    found = items_of(recipe, context)
    progress = Progress(context)
    if not progress.finished:
        with open_judge(recipe, context) as judge:
            progress.finish(_judged(recipe, context, found, judge, progress))
    write_finished(context, progress.finished[0]["samples"])
    return result_at(step_of(context), progress.finished)


def _judged(
    recipe: JudgeRecipe, context: StageContext, found: Items, judge: Judge, progress: Progress
) -> Measurement:
    name, items = recipe.name or recipe.task, found.items
    if recipe.shape == "pairwise":
        questions = pairwise.questions_of(items, recipe)
        compared = pairwise.compared(items, judge.opinions(questions, progress.answers()), recipe)
        rows = pairwise.rows_of(name, compared, recipe)
        rows.append(metric(name, found.unmatched, metric="unmatched", unit="items"))
        samples = [_pair_sample(name, each, recipe) for each in compared]
    else:
        opinions = judge.opinions(single.questions_of(items), progress.answers())
        rows = (
            single.score_rows(name, items, opinions)
            if recipe.shape == "score"
            else single.verdict_rows(name, items, opinions, recipe)
        )
        samples = [_sample(name, item, each) for item, each in zip(items, opinions, strict=True)]
    return Measurement([*rows, *_length_rows(name, items), *shape_rows_of(recipe, context, name)], samples)


def _length_rows(name: str, items: Sequence[Item]) -> list[MetricRow]:
    """Lengths in characters of the judged answers, and of those that they are compared with."""
    own = [float(len(item.answer)) for item in items]
    others = [float(len(item.reference)) for item in items if item.reference is not None]
    rows = [estimate_row(name, "characters", mean(own), "characters")]
    if others:
        rows.append(estimate_row(name, "reference_characters", mean(others), "characters"))
    return rows


def _sample(name: str, item: Item, opinion: Opinion) -> Sample:
    verdict = {"yes": "harmful", "no": "safe"}.get(opinion.choice or "")
    if opinion.choice is None and opinion.score is None:
        verdict = "unparsed"
    return _row(name, item, opinion.score, verdict)


def _pair_sample(name: str, each: Compared, recipe: JudgeRecipe) -> Sample:
    return _row(name, each.item, each.value(recipe), each.verdict)


def _row(name: str, item: Item, score: float | None, verdict: str | None) -> Sample:
    sample = Sample(
        task=name,
        item=item.number,
        prompt=item.prompt,
        completion=item.answer,
        reference=item.reference,
        score=score,
        verdict=verdict,
        generated=True,
    )
    if item.tokens is not None and item.ended is not None:
        sample["tokens"], sample["ended"] = item.tokens, item.ended
    return sample
