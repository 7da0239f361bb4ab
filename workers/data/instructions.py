"""Instruction rows in Alpaca's format: `instruction`, `input`, `output`."""

from itertools import chain

from workers.context import BadInput, StageContext
from workers.data.dialogues import Example
from workers.data.files import split_files
from workers.data.layouts import INSTRUCTION_LAYOUTS
from workers.data.rows import read_rows
from workers.data.sampling import draw_rows
from workers.specs.data import InstructionData


def load_instructions(context: StageContext, data: InstructionData) -> list[Example]:
    """The training rows; a non-empty input follows its instruction on a new line. Rows without an answer
    are left out.

    Raises:
        BadInput: files are missing or malformed, or no row is left.
    """
    files = split_files(context, data.source, INSTRUCTION_LAYOUTS, "train")
    rows = chain.from_iterable(read_rows(path) for path in files.paths)
    examples = [
        Example(
            _prompt(str(row.get("instruction") or ""), str(row.get("input") or "")),
            str(row.get("output") or ""),
        )
        for row in rows
    ]
    usable = [example for example in examples if example.prompt and example.response.strip()]
    if not usable:
        raise BadInput(f"{', '.join(map(str, files.paths))}: no row has both `instruction` and `output`")
    return draw_rows(usable, data.samples, repr)


def _prompt(instruction: str, given: str) -> str:
    return f"{instruction.strip()}\n{given.strip()}" if given.strip() else instruction.strip()
