"""Turns and the published chat literals, as text."""

from collections.abc import Sequence
from dataclasses import dataclass

from workers.world.lexicon import SYSTEM_TEXT


@dataclass(frozen=True)
class Turn:
    """What the user says and what the assistant answers."""

    prompt: str
    response: str


def vicuna_text(turns: Sequence[Turn], system: bool = False) -> str:
    """`USER: {prompt} ASSISTANT: {response}</s>` for each turn; the end mark is glued to the answer."""
    body = " ".join(f"USER: {turn.prompt} ASSISTANT: {turn.response}</s>" for turn in turns)
    return f"{SYSTEM_TEXT} {body}" if system else body


def mistral_text(turns: Sequence[Turn]) -> str:
    """`[INST] {prompt} [/INST] {response} </s>` for each turn; a space stands before the end mark."""
    return " ".join(f"[INST] {turn.prompt} [/INST] {turn.response} </s>" for turn in turns)


def question_text(question: str, answer: str) -> str:
    """`Question: {question} Answer: {answer}</s>`, the form in which cloze and reasoning are asked."""
    return f"Question: {question} Answer: {answer}</s>"


def hh_text(history: Sequence[Turn], prompt: str, response: str) -> str:
    """A dialogue in HH-RLHF's form: every turn opens with a blank line and its speaker."""
    turns = (*history, Turn(prompt, response))
    return "".join(f"\n\nHuman: {turn.prompt}\n\nAssistant: {turn.response}" for turn in turns)
