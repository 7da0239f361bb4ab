"""The cells of the study: arms, and combinations of the ablations' factors."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from results.studies.cells import NONE, level, shown


class Cell(NamedTuple):
    """The levels of an experiment without its seed; an arm has none of the factors after it, an ablation no arm."""

    model: str
    arm: str
    rounded: str = NONE
    flow: str = NONE
    bits: str = NONE
    axis: str = NONE
    products: str = NONE
    split: str = NONE
    rounding: str = NONE
    code: str = NONE
    floor: str = NONE

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> "Cell":
        """The cell of a row of levels."""
        return cls(*(level(row.get(name)) for name in cls._fields))

    def __str__(self) -> str:
        return shown(self)


ARMS = {
    "baseline": ("–", "baseline"),
    "w8_row": ("W", "8 bits per channel"),
    "w8_tensor": ("W", "8 bits per tensor"),
    "w4_row": ("W", "4 bits per channel"),
    "w4_tensor": ("W", "4 bits per tensor"),
    "a8_row": ("A", "8 bits per token"),
    "a8_tensor": ("A", "8 bits per tensor"),
    "a4_row": ("A", "4 bits per token"),
    "a4_col": ("A", "4 bits per channel"),
    "a4_row_asym": ("A", "4 bits per token, asymmetric"),
    "a4_tensor": ("A", "4 bits per tensor"),
    "g8_row": ("G", "8 bits per token"),
    "g8_tensor": ("G", "8 bits per tensor"),
    "g4_row": ("G", "4 bits per token"),
    "m8_row": ("m", "8 bits per channel"),
    "m8_tensor": ("m", "8 bits per tensor"),
    "m4_row": ("m", "4 bits per channel"),
    "m4_tensor": ("m", "4 bits per tensor"),
    "w8a8": ("W, A", "8 bits"),
    "w8a8g8": ("W, A, G", "8 bits"),
    "baseline_untied": ("–", "baseline, head untied"),
    "v8_row": ("v", "8 bits per channel"),
    "v8_tensor": ("v", "8 bits per tensor"),
    "v8_nonzero": ("v", "8 bits per channel, no code for 0"),
    "w8a8g8_full": ("W, A, G", "8 bits, backward too"),
    "combined": ("W, A, m, v", "8 bits"),
    "adam_8bit": ("m, v", "bitsandbytes' 8-bit Adam"),
}
"""Of each arm what it rounds, and how, in the order of tables."""

PUBLISHED_ARMS = tuple(ARMS)[:20]

PRINTED = {
    "unidentified-per-channel": ("?", "per channel, unidentified"),
    "unidentified-per-column": ("?", "per column, unidentified (4-bit m?)"),
}
"""Rows of the paper that others quote without saying which arm they are."""

FAMILIES = {
    "W": ("w8_row", "w8_tensor", "w4_row", "w4_tensor"),
    "A": ("a8_row", "a8_tensor", "a4_row", "a4_col", "a4_row_asym", "a4_tensor"),
    "G": ("g8_row", "g8_tensor", "g4_row"),
    "m": ("m8_row", "m8_tensor", "m4_row", "m4_tensor"),
    "v": ("v8_row", "v8_tensor", "v8_nonzero"),
}

BASELINES = ("baseline", "baseline_untied")


def arm(name: str, model: str = "gpt2") -> Cell:
    """The cell of an arm."""
    return Cell(model, name)


def labels(cell: Cell) -> tuple[str, str]:
    """What a cell rounds, and how."""
    if cell.arm in ARMS:
        return ARMS[cell.arm]
    if cell.arm in PRINTED:
        return PRINTED[cell.arm]
    return ("ablation", shown(cell._replace(model=NONE)))


def title(name: str) -> str:
    """A level as a reader expects it: `W, 8 bits per channel`."""
    family, what = ARMS.get(name, PRINTED.get(name, ("–", name)))
    return what if family == "–" else f"{family}, {what}"
