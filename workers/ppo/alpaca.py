"""AlpacaFarm's data (Dubois et al., arXiv 2305.14387): loaders that a grid names as `module:object`.

Prompts come with their literal around them (study, section 3), so the template of such a grid is only
`{prompt}{response}</s>`. The test split is the share `held_out` of the prompts.
"""

from collections.abc import Iterator

from workers.context import BadInput, StageContext
from workers.data.dialogues import Pair
from workers.data.files import split_files
from workers.data.preferences import in_held_out
from workers.data.rows import Row, read_rows
from workers.specs.data import PreferenceData

HEAD = "Below is an instruction that describes a task"
BODY = "Write a response that appropriately completes the request.\n\n### Instruction:\n"
TAIL = "\n\n### Response:"


def literal(instruction: str, given: str) -> str:
    """The text that stands before a response; with an input it says so and shows it."""
    if not given:
        return f"{HEAD}. {BODY}{instruction}{TAIL}"
    shown = f"{instruction}\n\n### Input:\n{given}"
    return f"{HEAD}, paired with an input that provides further context. {BODY}{shown}{TAIL}"


def preferences(context: StageContext, data: PreferenceData, preference: str, split: str) -> Iterator[Pair]:
    """Pairs of rows `instruction`, `input`, `output_1`, `output_2`, and `preference`, which is 1 or 2.

    Raises:
        BadInput: files are missing, or a row lacks a field.
    """
    for row in _rows(context, data, split):
        answers = (_text(row, "output_1"), _text(row, "output_2"))
        chosen = int(row["preference"]) - 1 if row.get("preference") in (1, 2) else None
        if chosen is None:
            raise BadInput(f"a preference is {row.get('preference')!r}; allowed: 1, 2")
        yield Pair(
            literal(_text(row, "instruction"), _text(row, "input")), answers[chosen], answers[1 - chosen]
        )


def demonstrations(
    context: StageContext, data: PreferenceData, preference: str, split: str
) -> Iterator[Pair]:
    """Rows `instruction`, `input`, `output`: the output as the chosen answer, nothing as the other.

    For supervised training, which reads the chosen answer, and for the prompts of PPO.

    Raises:
        BadInput: files are missing, or a row lacks a field.
    """
    for row in _rows(context, data, split):
        yield Pair(literal(_text(row, "instruction"), _text(row, "input")), _text(row, "output"), "")


def _rows(context: StageContext, data: PreferenceData, split: str) -> Iterator[Row]:
    files = split_files(context, data.source, ("*.json",), "train")
    for path in files.paths:
        for row in read_rows(path):
            prompt = literal(_text(row, "instruction"), _text(row, "input"))
            if in_held_out(prompt, data.held_out) == (split == "test"):
                yield row


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise BadInput(f"a row of AlpacaFarm's form lacks the text {name!r}; it has {', '.join(row)}")
    return value
