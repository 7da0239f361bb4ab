"""The prompts of a prompt set: the rows of published files, chosen, and the texts that a model is given."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.context import BadInput, StageContext
from workers.data.rows import read_rows
from workers.evaluation.candidate import Candidate
from workers.evaluation.sources import Location, Row, hub_rows, locate, spread
from workers.evaluation.templates import prompt_tokens
from workers.models.sources import planned_place
from workers.specs.data import DataSource
from workers.specs.generate import PromptSet

PLACE = "{prompt}"
FILES: dict[str, tuple[str, ...]] = {
    "prompts": ("prompts.jsonl", "test.jsonl", "prompts.json", "test.json"),
    "lines": ("prompts.txt", "prompt_entities.txt"),
    "alpaca_eval": ("alpaca_eval.jsonl", "alpaca_eval.json"),
    "realtoxicity": ("prompts.jsonl", "prompts.challenging.jsonl"),
    "red_instruct": ("dangerousqa.json", "harmful_questions/dangerousqa.json"),
}
"""Usual files of each format."""
FIELDS = {"alpaca_eval": "instruction", "realtoxicity": "prompt.text"}
"""Where a format has its prompt, if not under `prompt`."""
HUB = {"alpaca_eval": ("alpaca_eval", "eval"), "realtoxicity": ("default", "train")}
"""Configuration and split of a format's data set on the hub."""


@dataclass(frozen=True)
class Asked:
    """The prompts of a set that leave room for an answer.

    `items` are the rows' numbers among those that were chosen, the same for every model; `texts` are the bare
    prompts, `tokens` what the model reads. `dropped` counts the prompts that left no room.
    """

    items: list[int]
    texts: list[str]
    tokens: list[list[int]]
    dropped: int

    @property
    def size(self) -> int:
        """How many tokens the prompts have."""
        return sum(map(len, self.tokens))


def chosen_prompts(prompts: PromptSet, context: StageContext) -> list[str]:
    """The bare prompts of a set, chosen by its rules, in the order in which they are asked.

    Raises:
        BadInput: the data is missing or malformed, or no row is left; the message never shows a row's text.
    """
    location = locate(prompts.source, context)
    rows = _chosen(_rows(location, prompts.format), prompts, location.name)
    field = prompts.prompt_field or FIELDS.get(prompts.format, "prompt")
    texts = [value_at(row, field) for row in rows]
    missing = [number for number, text in enumerate(texts, start=1) if not isinstance(text, str) or not text]
    if missing or not texts:
        what = f"row {missing[0]} of those chosen has no text in {field!r}" if missing else "has no rows"
        raise BadInput(f"prompt set {prompts.name!r}: {location.name} {what}")
    return [str(text) for text in texts]


def asked(prompts: PromptSet, candidate: Candidate) -> Asked:
    """The prompts of a set as the candidate reads them.

    Raises:
        BadInput: see `chosen_prompts`; or no prompt leaves room for its answer.
    """
    texts = chosen_prompts(prompts, candidate.context)
    own = prompts.prompt_file
    around = prompts.wording if own is None else own_text(own, candidate.context, (PLACE,))
    whole = [around.replace(PLACE, text) for text in texts]
    tokens = prompt_tokens(whole, candidate) if prompts.wrap == "template" else candidate.encode(whole)
    room = candidate.max_length - prompts.new_tokens
    items = [place for place, ids in enumerate(tokens) if 0 < len(ids) <= room]
    if not items:
        raise BadInput(
            f"prompt set {prompts.name!r}: none of {len(texts)} prompts leaves room for {prompts.new_tokens} "
            f"new tokens within {candidate.max_length}; lower `new_tokens` or raise `max_length`"
        )
    return Asked(
        items, [texts[item] for item in items], [tokens[item] for item in items], len(texts) - len(items)
    )


def own_text(source: DataSource, context: StageContext, places: Sequence[str]) -> str:
    """The user's own text file, which must hold every one of `places`.

    Raises:
        BadInput: it is missing, is not the file that the plan saw, or lacks a place.
    """
    if source.hub is None:
        raise BadInput("a file of one's own is named by `hub`: a path, or a name that the hub map knows")
    path = planned_place(context, source)
    if path.is_dir() and len(source.files) == 1:
        path = path / source.files[0]
    if not path.is_file():
        raise BadInput(f"{source.hub}: {path} is no file")
    text = path.read_text(encoding="utf-8")
    missing = [place for place in places if place not in text]
    if missing:
        raise BadInput(f"{path} lacks {', '.join(missing)}, where the text to be filled in belongs")
    return text


def value_at(row: Row, field: str) -> Any:
    """The value of a field, with dots into nested ones; None where there is none."""
    value: Any = row
    for name in field.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def text_rows(path: Path) -> list[Row]:
    """The rows of a file; a JSON array of words is rows with `prompt`.

    Raises:
        BadInput: the file is missing or malformed.
    """
    if path.suffix == ".json":
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            content = None
        if isinstance(content, list) and content and all(isinstance(item, str) for item in content):
            return [{"prompt": item} for item in content]
    return list(read_rows(path))


def line_rows(path: Path) -> list[Row]:
    """A prompt for each line that is not empty.

    Raises:
        BadInput: the file is missing or malformed.
    """
    lines = [line.strip() for row in text_rows(path) for line in str(row.get("text", "")).splitlines()]
    return [{"prompt": line} for line in lines if line]


def _rows(location: Location, format_: str) -> list[Row]:
    names, read = location.source.files, line_rows if format_ == "lines" else text_rows
    if names:
        return [row for name in names for row in read(location.file(name))]
    usual = location.find(*FILES[format_])
    if usual is not None or format_ not in HUB:
        return read(usual or location.file(*FILES[format_]))
    return hub_rows(location, *HUB[format_])


def _chosen(rows: list[Row], prompts: PromptSet, name: str) -> list[Row]:
    """The rows that `only`, `rank_by` and `limit` leave; of equal ranks the earlier row comes first."""
    if prompts.only is not None:
        rows = [row for row in rows if value_at(row, prompts.only) is True]
    if prompts.rank_by is None:
        return spread(rows, prompts.limit)
    ranked = [(value_at(row, prompts.rank_by), row) for row in rows]
    known = [(float(rank), row) for rank, row in ranked if isinstance(rank, int | float)]
    if rows and not known:
        raise BadInput(f"prompt set {prompts.name!r}: no row of {name} has a number in {prompts.rank_by!r}")
    known.sort(key=lambda pair: -pair[0])
    return [row for _, row in known][: prompts.limit]
