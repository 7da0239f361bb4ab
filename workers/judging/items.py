"""What is judged: the kept answers to a prompt set, and what each is compared with."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from results.records import MetricRow
from results.schema import SAMPLES, read_table
from workers.context import BadInput, Parent, StageContext
from workers.evaluation.questions import text_rows, value_at
from workers.evaluation.sources import Row, hub_rows, locate
from workers.kinds import unknown
from workers.specs.judge import JudgeRecipe, Reference

PROMPT_FIELDS = ("instruction", "prompt")
OUTPUT_FIELDS = ("output", "reference")
FILES = ("helpful/test.jsonl", "reference.jsonl", "outputs.json", "alpaca_eval.jsonl", "alpaca_eval.json")
SHAPE_METRICS = ("length", "repetition", "ended", "dropped")
THOUGHT = "(Internal thought:"


@dataclass(frozen=True)
class Item:
    """One answer to be judged.

    `reference` is the answer that it is compared with, `truth` one that is known to be right.
    """

    number: int
    prompt: str
    answer: str
    tokens: int | None
    ended: bool | None
    reference: str | None = None
    truth: str | None = None


@dataclass(frozen=True)
class Items:
    """The answers that can be judged, and how many found nothing to be compared with."""

    items: list[Item]
    unmatched: int


def items_of(recipe: JudgeRecipe, context: StageContext) -> Items:
    """The answers of the parent in role `generations` to `recipe.task`, with what they are compared with.

    Raises:
        BadInput: there is no such parent or task, a pair has no second answer, or no prompt matches.
    """
    parent = _parent(context, "generations")
    found = _answers(parent, recipe.task, recipe.remove_thought)
    known = _references(recipe.reference, context) if recipe.reference is not None else {}
    if known:
        found = [
            replace(item, reference=known.get(item.prompt), truth=known.get(item.prompt)) for item in found
        ]
    if context.parent("opponent") is not None:
        others = _answers(_parent(context, "opponent"), recipe.task, recipe.remove_thought)
        answers = {(item.number, item.prompt): item.answer for item in others}
        found = [replace(item, reference=answers.get((item.number, item.prompt))) for item in found]
    elif recipe.shape == "pairwise" and recipe.reference is None:
        raise BadInput("pairwise judging needs a second answer: a parent in role `opponent`, or `reference`")
    if recipe.shape != "pairwise":
        return Items(found, 0)
    matched = [item for item in found if item.reference is not None]
    if not matched:
        raise BadInput(
            f"none of the {len(found)} prompts of {recipe.task!r} has an answer to be compared with"
        )
    return Items(matched, len(found) - len(matched))


def shape_rows_of(recipe: JudgeRecipe, context: StageContext, name: str) -> list[MetricRow]:
    """Length, repetition, ending and drops as the generation measured them, under the judged task's name."""
    rows = _parent(context, "generations").metrics
    return [
        MetricRow(**{**row, "task": name, "primary": False})
        for row in rows
        if row["task"] == recipe.task and row["metric"] in SHAPE_METRICS
    ]


def step_of(context: StageContext) -> int | None:
    """The optimizer step of the training whose answers are judged."""
    step: int | None = getattr(_parent(context, "generations").stage.recipe, "step", None)
    return step


def _parent(context: StageContext, role: str) -> Parent:
    parent = context.parent(role)
    if parent is None:
        raise BadInput(f"judging needs a parent in role `{role}`: a stage of kind generate")
    return parent


def _answers(parent: Parent, task: str, remove_thought: bool) -> list[Item]:
    path = parent.output / "samples.parquet"
    if not path.is_file():
        raise BadInput(f"stage {parent.stage.id} ({parent.stage.kind.name}) left no samples to be judged")
    rows: list[dict[str, Any]] = read_table(path, SAMPLES).to_pylist()
    own = [row for row in rows if row["task"] == task]
    if not own:
        tasks = {row["task"] for row in rows}
        raise BadInput(f"stage {parent.stage.id}: {unknown('prompt set', task, tasks)}")
    return [_item(row, remove_thought) for row in own]


def _item(row: dict[str, Any], remove_thought: bool) -> Item:
    answer = without_thought(row["completion"]) if remove_thought else row["completion"]
    return Item(row["item"], row["prompt"], answer, row["tokens"], row["ended"])


def without_thought(answer: str) -> str:
    """The answer without a leading `(Internal thought: …)` (alignment study, section 7)."""
    text = answer.lstrip()
    if not text.startswith(THOUGHT) or ")" not in text:
        return answer
    return text.partition(")")[2].lstrip()


def _references(reference: Reference, context: StageContext) -> dict[str, str]:
    """Stored outputs by their prompt; of several to one prompt the first."""
    location = locate(reference.source, context)
    names = reference.source.files
    path = location.find(*(names or FILES))
    if path is not None:
        rows = [row for name in names for row in text_rows(location.file(name))] if names else text_rows(path)
    elif location.directory is not None:
        rows = text_rows(location.file(*(names or FILES)))
    else:
        rows = hub_rows(location, "default", "test")
    prompt = _field(rows, reference.prompt_field, PROMPT_FIELDS, location.name)
    output = _field(rows, reference.output_field, OUTPUT_FIELDS, location.name)
    found: dict[str, str] = {}
    for row in rows:
        found.setdefault(str(value_at(row, prompt)), str(value_at(row, output)))
    return found


def _field(rows: Iterable[Row], named: str | None, usual: tuple[str, ...], name: str) -> str:
    first = next(iter(rows), {})
    for field in (named,) if named is not None else usual:
        if isinstance(value_at(first, field), str):
            return field
    wanted = named or " or ".join(usual)
    raise BadInput(f"{name}: its rows have no text in {wanted}; they have {', '.join(map(str, first))}")
