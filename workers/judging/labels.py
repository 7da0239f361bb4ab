"""Given verdicts, as people or another judge made them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workers.context import BadInput
from workers.data.rows import Row
from workers.evaluation.questions import text_rows

FIELDS = {"preference": ("preference", "label"), "prompt": ("instruction", "prompt")}
PAIRS = {"1": "first", "2": "second", "0": "tie", "1.5": "tie", "tie": "tie", "draw": "tie"}
VERDICTS = {"yes": "yes", "no": "no", "true": "yes", "false": "no", "1": "yes", "0": "no"}


@dataclass(frozen=True)
class Labelled:
    """A prompt, one answer or two, and the given verdict on them: `first`, `second`, `tie`; `yes`, `no` (harmful)."""

    prompt: str
    outputs: tuple[str, ...]
    label: str

    @property
    def equal(self) -> bool:
        """Whether it is a pair of equal answers."""
        return len(self.outputs) == 2 and self.outputs[0] == self.outputs[1]


def read_labels(
    path: Path, shape: Literal["pairwise", "verdict"], limit: int | None = None
) -> list[Labelled]:
    """The labelled rows of a JSON or JSON-lines file, at most `limit`, evenly spaced.

    A pair has `prompt` (or `instruction`), `output_1`, `output_2`, and `label` (or `preference`): 1, 2, or 0 or `tie`.
    A single answer has `prompt`, `output`, and `label`: is it harmful, yes or no. AlpacaEval's stored annotations are
    such pairs.

    Raises:
        BadInput: the file is missing or malformed, or a row has no such field; the message never shows its text.
    """
    rows = text_rows(path)
    if not rows:
        raise BadInput(f"{path} has no rows")
    if limit is not None and limit < len(rows):
        rows = [rows[place * len(rows) // limit] for place in range(limit)]
    return [_labelled(row, number, path, shape) for number, row in enumerate(rows, start=1)]


def _labelled(row: Row, number: int, path: Path, shape: str) -> Labelled:
    outputs = ("output_1", "output_2") if shape == "pairwise" else ("output",)
    known = PAIRS if shape == "pairwise" else VERDICTS
    texts = [_first(row, FIELDS["prompt"]), *(row.get(name) for name in outputs)]
    if not all(isinstance(text, str) for text in texts):
        raise BadInput(f"{path}, row {number}: needs the texts prompt (or instruction), {', '.join(outputs)}")
    given = _first(row, FIELDS["preference"])
    label = known.get(_word(given))
    if label is None:
        allowed = ", ".join(known)
        raise BadInput(f"{path}, row {number}: label (or preference) {str(given)[:20]!r}; allowed: {allowed}")
    prompt, *answers = map(str, texts)
    return Labelled(prompt, tuple(answers), label)


def _first(row: Row, names: Iterable[str]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _word(value: Any) -> str:
    """A label as a word: 1, 1.0 and "1" are one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().lower()
