"""The cells of the study: what one experiment is, its seed apart, and which cells belong together."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

START_TYPES = {
    "llama-1-7b": "pretrained",
    "vicuna-7b-v1.3": "instruct",
    "mistral-7b": "pretrained",
    "mistral-7b-instruct": "instruct",
}
"""Of each start model (table of factors: pre-trained = LLaMA-1 and Mistral-7b)."""

MODELS = ("mistral-7b-instruct", "mistral-7b", "llama-1-7b", "vicuna-7b-v1.3")
"""In the paper's order."""

TITLES = {
    "llama-1-7b": "LLaMA-1",
    "vicuna-7b-v1.3": "Vicuna",
    "mistral-7b": "Mistral-7b",
    "mistral-7b-instruct": "Mistral-7b-Instruct",
    "hh-rlhf": "HH-RLHF",
    "beavertails": "BeaverTails",
    "sft": "SFT",
    "dpo": "DPO",
    "sft+dpo": "SFT+DPO",
    "qlora": "QLoRA",
    "lora": "LoRA",
    "merge-slerp": "Slerp",
    "merge-dare-ties": "DARE-TIES",
    "none": "–",
}
"""How levels are written for a reader; a level that is not here stands for itself."""


class Cell(NamedTuple):
    """The levels of an experiment without its seed; "none" is a factor that it lacks."""

    model: str
    dataset: str
    preference: str
    method: str
    adapter: str
    variant: str

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> "Cell":
        """The cell of a row of levels; a level that is absent or null is "none"."""
        levels = (row.get(name) for name in cls._fields)
        return cls(*(level if isinstance(level, str) else "none" for level in levels))

    @property
    def start_type(self) -> str:
        """Whether the start model is `pretrained` or `instruct`; "other" for a model that the study lacks."""
        return START_TYPES.get(self.model, "other")

    def fits(self, levels: "Levels") -> bool:
        """Whether every factor named in `levels` has one of its levels here."""
        return all(getattr(self, factor) in wanted for factor, wanted in levels.items())

    def __str__(self) -> str:
        return "/".join(part for part in self if part != "none")


Levels = Mapping[str, Sequence[str]]


def original(cell: Cell, cells: Iterable[Cell]) -> list[Cell]:
    """The start model as it is."""
    return [one for one in cells if one.model == cell.model and one.variant == "original"]


def parents(cell: Cell, cells: Iterable[Cell]) -> list[Cell]:
    """The single runs of both preferences that a mixture is compared with, or that a merge is made of."""
    wanted = {
        cell._replace(variant="single", preference=preference, method=method)
        for preference in cell.preference.split("+")
        for method in cell.method.split("+")
    }
    found = [one for one in cells if one in wanted]
    return found if len(found) == len(wanted) else []


def other_merges(cell: Cell, cells: Iterable[Cell]) -> list[Cell]:
    """All merges of the same start model but this one."""
    return [
        one for one in cells if one.model == cell.model and one.variant.startswith("merge-") and one != cell
    ]


def title(level: str) -> str:
    """A level as a reader expects it."""
    return TITLES.get(level, level)
