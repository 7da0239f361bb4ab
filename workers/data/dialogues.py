"""Dialogues: what every loader of preference or instruction data produces."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """What the user says and what the assistant answers."""

    prompt: str
    response: str


@dataclass(frozen=True)
class Example:
    """A prompt after some earlier turns, and the answer to learn."""

    prompt: str
    response: str
    history: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt. `preference` is the set it came from."""

    prompt: str
    chosen: str
    rejected: str
    history: tuple[Turn, ...] = ()
    preference: str = ""

    @property
    def preferred(self) -> Example:
        """The prompt with its chosen answer: the target of supervised fine-tuning."""
        return Example(self.prompt, self.chosen, self.history)


class Unusable(Exception):
    """A row that a drop rule removes; the text is the rule's name."""
