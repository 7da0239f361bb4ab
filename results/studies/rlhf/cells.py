"""The cells of the study: how a policy is trained, how it is kept near its start, and on which rewards."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from results.studies.cells import NONE, level

PPO, SUPERVISED, FULL = "ppo", "sft", "full-ppo"


class Cell(NamedTuple):
    """The levels of an experiment without its seed.

    `settings` are those of the method in which it departs from the other runs of its store, "none" where it does not.
    """

    method: str
    regularizer: str = NONE
    coefficient: str = NONE
    reward_data: str = NONE
    settings: str = NONE

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> "Cell":
        """The cell of a row of levels; where there is no method it is PPO."""
        found = cls(*(level(row.get(name)) for name in cls._fields))
        return found._replace(method=PPO) if found.method == NONE else found

    def __str__(self) -> str:
        return short(self)


FREE = ("none", "dropout_only")

REGULARIZERS = {
    "kl": "KL",
    "clamped_kl": "clamped KL",
    "bregman": "Bregman",
    "squared_error": "squared error",
    "jensen_shannon": "Jensen-Shannon",
    "negative_kl": "negative KL",
    "none": "none",
    "dropout_only": "dropout only",
    "bregman_v0": "Bregman, first release",
    "js_unbiased": "Jensen-Shannon, unbiased",
    "kl_full": "KL, exact",
    "js_full": "Jensen-Shannon, exact",
    "kl_full_in_loss": "KL, exact, in the loss",
    "js_full_in_loss": "Jensen-Shannon, exact, in the loss",
}
METHODS = {
    PPO: "LoRA PPO",
    "rloo": "RLOO",
    "grpo": "GRPO",
    "best-of-n": "best of n",
    SUPERVISED: "SFT",
    FULL: "AlpacaFarm PPO, full tuning",
    "gpt4": "GPT-4",
    "chatgpt": "ChatGPT",
    "expert_iteration": "expert iteration",
    "sft52k": "SFT52k",
    "binary_feedme": "binary FeedME",
    "quark": "Quark",
    "binary_reward_conditioning": "binary reward conditioning",
    "davinci001": "davinci001",
    "llama7b": "LLaMA-7B",
    "alpaca7b": "Alpaca-7B",
}
REFERENCES = {
    "sft10k": SUPERVISED,
    "alpacafarm_ppo": FULL,
    "alpacafarm_ppo_human": FULL,
    "best_of_n": "best-of-n",
}
"""Systems of the published tables that are cells of ours, by their names there."""


def arm(regularizer: str, coefficient: str = "weak") -> Cell:
    """The cell of a PPO arm on human preferences; without a penalty there is no coefficient."""
    return Cell(PPO, regularizer, NONE if regularizer in FREE else coefficient, "human")


def printed_arm(name: str) -> Cell:
    """The cell of an arm of the published figures; a penalised one has the published coefficient, `weak`."""
    if name.startswith("reference:"):
        system = name.removeprefix("reference:")
        method = REFERENCES.get(system, system)
        return Cell(method, reward_data="human" if method in (FULL, "best-of-n") else NONE)
    return arm(name) if name in REGULARIZERS else Cell(PPO, name)


ORDER = (*REGULARIZERS, "all")


def ordered(cells: "list[Cell]") -> "list[Cell]":
    """PPO first, in the order of regularizers, then the other methods; weak before strong."""
    methods = list(METHODS)

    def place(cell: Cell) -> tuple[Any, ...]:
        method = methods.index(cell.method) if cell.method in methods else len(methods)
        regularizer = ORDER.index(cell.regularizer) if cell.regularizer in ORDER else len(ORDER)
        return method, regularizer, cell.coefficient == "strong", cell.reward_data, cell.settings

    return sorted(cells, key=place)


def labels(cell: Cell) -> tuple[str, str, str]:
    """Method, regularizer and coefficient for a reader; rewards and settings where they are not the usual ones."""
    method = METHODS.get(cell.method, cell.method)
    extra = [*(["noisy rewards"] if cell.reward_data == "noisy" else [])]
    extra += [cell.settings] if cell.settings != NONE else []
    regularizer = REGULARIZERS.get(cell.regularizer, cell.regularizer) if cell.method == PPO else "–"
    return ", ".join([method, *extra]), regularizer, "–" if cell.coefficient == NONE else cell.coefficient


def short(cell: Cell) -> str:
    """A cell as the row of a figure: `KL, weak`."""
    method, regularizer, coefficient = labels(cell)
    parts = [regularizer if cell.method == PPO else method, coefficient]
    named = [part for part in parts if part != "–"]
    return ", ".join([*named, *method.split(", ")[1:]]) if cell.method == PPO else ", ".join(named)


def title(name: str) -> str:
    """A level as a reader expects it."""
    return REGULARIZERS.get(name, METHODS.get(name, name))
