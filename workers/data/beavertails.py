"""PKU-SafeRLHF, which the alignment study calls BeaverTails (section 3.2; Ji et al., arXiv 2310.12773).

Not the hub's data set of the name BeaverTails, whose rows have one answer and one flag.
"""

from collections.abc import Callable, Iterable
from itertools import product

from workers.context import BadInput
from workers.data.dialogues import Pair, Unusable
from workers.data.rows import Row

FIELDS = ("prompt", "response_0", "response_1")
MINI_FIELDS = ("question", "answer", "label")


def harmless_pair(row: Row) -> Pair:
    """Safe against unsafe, where exactly one answer is safe; the `better` label is ignored.

    Raises:
        Unusable: `not exactly one safe`, `empty`, `equal` or `malformed`.
    """
    safe = (_flag(row, "is_response_0_safe"), _flag(row, "is_response_1_safe"))
    if safe[0] == safe[1]:
        raise Unusable("not exactly one safe")
    return _pair(row, 0 if safe[0] else 1)


def helpful_pair(row: Row) -> Pair:
    """The answer labelled better against the other.

    Raises:
        Unusable: `empty`, `equal` or `malformed`.
    """
    better = row.get("better_response_id")
    if better not in (0, 1):
        raise Unusable("malformed")
    return _pair(row, int(better))


READERS: dict[str, Callable[[Row], Pair]] = {"harmless": harmless_pair, "helpful": helpful_pair}


def paired_answers(rows: Iterable[Row], preference: str) -> tuple[list[Pair], int]:
    """Harmless pairs from single answers: fields question, answer, label (1 unsafe, 0 safe).

    Every safe answer to a question meets every unsafe one; a question without both gives no pair, and the number
    of rows with such a question comes second.

    Raises:
        BadInput: another preference is asked for; the file has no better-answer label.
    """
    if preference != "harmless":
        raise BadInput(
            f"single answers with a safety label (fields {', '.join(MINI_FIELDS)}) hold no {preference} "
            "preference; allowed: harmless"
        )
    answers: dict[str, tuple[list[str], list[str]]] = {}
    for row in rows:
        safe, unsafe = answers.setdefault(str(row["question"]).strip(), ([], []))
        (unsafe if str(row["label"]).strip() == "1" else safe).append(str(row["answer"]).strip())
    pairs = [
        Pair(question, good, bad)
        for question, (safe, unsafe) in answers.items()
        for good, bad in product(safe, unsafe)
        if question and good and bad and good != bad
    ]
    return pairs, sum(len(safe) + len(unsafe) for safe, unsafe in answers.values() if not (safe and unsafe))


def _flag(row: Row, name: str) -> bool:
    value = row.get(name)
    if not isinstance(value, bool | int):
        raise Unusable("malformed")
    return bool(value)


def _pair(row: Row, chosen: int) -> Pair:
    texts = [row.get(name) for name in FIELDS]
    if not all(isinstance(text, str) for text in texts):
        raise Unusable("malformed")
    prompt, first, second = (str(text).strip() for text in texts)
    if not (prompt and first and second):
        raise Unusable("empty")
    if first == second:
        raise Unusable("equal")
    return Pair(prompt, first, second) if chosen == 0 else Pair(prompt, second, first)
