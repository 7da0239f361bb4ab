"""`factuality`: break kept answers into facts, look each up, and write FActScore."""

from collections.abc import Iterator, Sequence

from workers.context import BadInput, StageContext, StageResult
from workers.evaluation.answers import Answers
from workers.evaluation.benchmark import Measurement, Sample, estimate_row
from workers.evaluation.progress import Progress, result_at, write_finished
from workers.evaluation.statistics import mean
from workers.judging.factuality import Checked, Fact, factuality_rows
from workers.judging.factuality_extraction import Facts, open_extractor
from workers.judging.factuality_knowledge import KnowledgeBase, read_knowledge
from workers.judging.factuality_support import Claim, asking, open_verifier
from workers.judging.items import Item, items_of, shape_rows_of, step_of
from workers.specs.factuality import FactualityRecipe


def run(recipe: FactualityRecipe, context: StageContext) -> StageResult:
    """Check every answer and write `samples.parquet`: answers with their scores, facts with their verdicts.

    Raises:
        BadInput: answers, knowledge, the extractor or the judge are missing or malformed.
        TransientFailure: a service does not answer; what it said before is kept.
        StageStopped: a stop was asked for; what was asked is in a checkpoint.
    """
    _check_named(recipe)
    items = items_of(asking(recipe), context).items
    progress = Progress(context)
    if not progress.finished:
        found = _checked(recipe, context, items, progress.answers())
        progress.finish(_measured(recipe, context, found))
    write_finished(context, progress.finished[0]["samples"])
    return result_at(step_of(context), progress.finished)


def _check_named(recipe: FactualityRecipe) -> None:
    for what in ("extractor", "judge"):
        chosen = getattr(recipe, what)
        if not chosen.kind:
            raise BadInput(
                f"the recipe names no `{what}`; it is one of {', '.join(type(chosen).model_fields)}"
            )


def _checked(
    recipe: FactualityRecipe, context: StageContext, items: Sequence[Item], answers: Answers
) -> list[Checked]:
    """Every answer with its facts and their verdicts: first all facts are listed, then all are looked up.

    The models that do the two need not be in memory together.
    """
    exact = recipe.judge.kind == "rule"
    base = None if exact else read_knowledge(recipe.knowledge, context, [item.prompt for item in items])
    known = [item for item in items if base is None or item.prompt in base]
    with open_extractor(recipe, context) as extract:
        lists = dict(zip((item.number for item in known), extract(known, answers), strict=True))
    claims = [_claim(base, item, fact) for item in known for fact in lists[item.number] or ()]
    with open_verifier(recipe, context) as verify:
        verdicts = iter(verify(claims, answers))
    return [_one(item, lists, verdicts) for item in items]


def _claim(base: KnowledgeBase | None, item: Item, fact: str) -> Claim:
    return Claim("" if base is None else base.nearest(item.prompt, fact), fact)


def _one(item: Item, lists: dict[int, Facts], verdicts: Iterator[bool | None]) -> Checked:
    if item.number not in lists:
        return Checked(item, None, known=False)
    facts = lists[item.number]
    if facts is None:
        return Checked(item, None)
    return Checked(item, tuple(Fact(text, next(verdicts)) for text in facts))


def _measured(recipe: FactualityRecipe, context: StageContext, found: Sequence[Checked]) -> Measurement:
    lengths = mean([float(len(one.item.answer)) for one in found])
    rows = [
        *factuality_rows(found, recipe),
        estimate_row(recipe.name, "characters", lengths, "characters"),
        *shape_rows_of(asking(recipe), context, recipe.name),
    ]
    return Measurement(rows, [*_answer_samples(recipe, found), *_fact_samples(recipe, found)])


def _answer_samples(recipe: FactualityRecipe, found: Sequence[Checked]) -> list[Sample]:
    samples = []
    for one in found:
        item = one.item
        sample = _sample(recipe.name, item.number, item.prompt, item.answer)
        sample["score"], sample["verdict"] = one.score(recipe.unparsed), one.verdict(recipe.unparsed)
        if item.tokens is not None and item.ended is not None:
            sample["tokens"], sample["ended"] = item.tokens, item.ended
        samples.append(sample)
    return samples


def _fact_samples(recipe: FactualityRecipe, found: Sequence[Checked]) -> list[Sample]:
    """One row for each fact, under `<name>_facts`, numbered over all answers."""
    facts = [(one.item, fact) for one in found for fact in one.facts or ()]
    samples = []
    for number, (item, fact) in enumerate(facts):
        sample = _sample(f"{recipe.name}_facts", number, item.prompt, fact.text)
        sample["score"] = None if fact.supported is None else float(fact.supported)
        sample["verdict"] = {True: "supported", False: "unsupported", None: "unparsed"}[fact.supported]
        samples.append(sample)
    return samples


def _sample(task: str, number: int, prompt: str, completion: str) -> Sample:
    return Sample(
        task=task,
        item=number,
        prompt=prompt,
        completion=completion,
        reference=None,
        score=None,
        verdict=None,
        generated=True,
    )
