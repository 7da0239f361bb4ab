"""HH-RLHF (Bai et al., arXiv 2204.05862): two whole dialogues a row, equal up to the last assistant turn.

The parse is that of the alignment study, section 3.1: the prompt is everything before the last assistant
turn of `chosen`, and the two last turns are the answers.
"""

import re

from workers.data.dialogues import Pair, Turn, Unusable
from workers.data.rows import Row

_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):")


def hh_pair(row: Row) -> Pair:
    """The pair of a row: fields `chosen` and `rejected`, or `text` with both in a list.

    Raises:
        Unusable: `malformed`, `prefix differs`, `empty` or `equal`.
    """
    chosen, rejected = _dialogues(row)
    before, answer = _split_last(chosen)
    other_before, other_answer = _split_last(rejected)
    if before != other_before:
        raise Unusable("prefix differs")
    if not answer or not other_answer:
        raise Unusable("empty")
    if answer == other_answer:
        raise Unusable("equal")
    history, prompt = _turns(before)
    return Pair(prompt, answer, other_answer, history)


def _dialogues(row: Row) -> tuple[str, str]:
    texts = row.get("text")
    both = tuple(texts) if isinstance(texts, list | tuple) else (row.get("chosen"), row.get("rejected"))
    if len(both) != 2 or not all(isinstance(text, str) for text in both):
        raise Unusable("malformed")
    return both


def _speeches(dialogue: str) -> list[tuple[str, str]]:
    """(speaker, text) in order; neighbouring speeches of one speaker become one."""
    parts = _SPEAKER.split(dialogue)
    speeches: list[tuple[str, str]] = []
    for speaker, text in zip(parts[1::2], parts[2::2], strict=True):
        if speeches and speeches[-1][0] == speaker:
            speeches[-1] = (speaker, f"{speeches[-1][1]}\n\n{text.strip()}".strip())
        else:
            speeches.append((speaker, text.strip()))
    return speeches


def _split_last(dialogue: str) -> tuple[tuple[tuple[str, str], ...], str]:
    speeches = _speeches(dialogue)
    if not speeches or speeches[-1][0] != "Assistant":
        raise Unusable("malformed")
    return tuple(speeches[:-1]), speeches[-1][1]


def _turns(speeches: tuple[tuple[str, str], ...]) -> tuple[tuple[Turn, ...], str]:
    """Earlier turns and the last prompt of speeches that alternate from Human to Human."""
    if len(speeches) % 2 == 0 or speeches[0][0] != "Human":
        raise Unusable("malformed")
    texts = [text for _, text in speeches]
    if not texts[-1]:
        raise Unusable("empty")
    return tuple(Turn(*pair) for pair in zip(texts[:-1:2], texts[1::2], strict=True)), texts[-1]
