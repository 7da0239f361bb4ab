"""What a judge is told, and how its words are read."""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from workers.context import StageContext
from workers.evaluation.questions import own_text
from workers.judging.judge import Question
from workers.specs.judge import JudgeRecipe

PLACES = {"pairwise": ("{prompt}", "{first}", "{second}"), "verdict": ("{prompt}", "{answer}")}
LABELS = {"pairwise": ("A", "B", "tie"), "verdict": ("yes", "no")}
CHOICES = {"pairwise": ("first", "second", "tie"), "verdict": ("yes", "no")}


class Instruction:
    """The text around a question, and the labels that an answer may hold.

    Raises:
        BadInput: the user's own text is missing or lacks a place.
    """

    def __init__(self, recipe: JudgeRecipe, context: StageContext) -> None:
        self.shape = "pairwise" if recipe.shape == "pairwise" else "verdict"
        self.labels = recipe.labels or LABELS[self.shape]
        places = PLACES[self.shape]
        if recipe.instruction is not None:
            self.text = own_text(recipe.instruction, context, places)
        else:
            self.text = (Path(__file__).parent / "instructions" / f"{self.shape}.txt").read_text()
        self.text = self.text.rstrip("\n")

    def render(self, question: Question) -> str:
        """The instruction with the question in its places; what is filled in is not looked through again."""
        if self.shape == "pairwise":
            first, second = question.outputs
            values = {"{prompt}": question.prompt, "{first}": first, "{second}": second}
        else:
            values = {"{prompt}": question.prompt, "{answer}": question.outputs[0]}
        return re.sub("|".join(map(re.escape, values)), lambda found: values[found[0]], self.text)

    def read(self, text: str | None) -> str | None:
        """The choice that an answer states, or None unless exactly one of the labels stands in it."""
        found = {_normal(label) for label in self._pattern.findall(text or "")}
        choices = dict(zip(map(_normal, self.labels), CHOICES[self.shape], strict=False))
        return choices.get(found.pop()) if len(found) == 1 else None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(rf"(?<!\w){_as_pattern(label)}(?!\w)" for label in self.labels))


def _as_pattern(label: str) -> str:
    """A label of one letter stands for itself alone (`a` is a word); longer ones in any case."""
    return re.escape(label) if len(label) == 1 else f"(?i:{re.escape(label)})"


def _normal(label: str) -> str:
    return label if len(label) == 1 else label.lower()


def label_texts(labels: Sequence[str], spaced: bool) -> list[str]:
    """The labels as a model continues with them: after a space unless it starts a message of its own."""
    return [f" {label}" if spaced else label for label in labels]
