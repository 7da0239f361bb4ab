"""What stands beside every judged answer: its length, its repetition, and whether it ended."""

from collections.abc import Sequence

from results.records import MetricRow
from workers.evaluation.benchmark import estimate_row
from workers.evaluation.generation import Completion
from workers.evaluation.statistics import mean

REPEATED_LENGTH = 3
"""Words in the n-grams of `repetition`."""


def repetition(words: Sequence[object], length: int = REPEATED_LENGTH) -> float:
    """The share of n-grams that occurred earlier in the same answer; 0 for an answer without n-grams."""
    grams = [tuple(words[start : start + length]) for start in range(len(words) - length + 1)]
    return 1.0 - len(set(grams)) / len(grams) if grams else 0.0


def shape_rows(task: str, completions: Sequence[Completion]) -> list[MetricRow]:
    """Rows `length` (tokens before the end), `repetition` (of token trigrams) and `ended` (share)."""
    return [
        estimate_row(task, "length", mean([float(len(item.tokens)) for item in completions]), "tokens"),
        estimate_row(task, "repetition", mean([repetition(item.tokens) for item in completions]), "share"),
        estimate_row(task, "ended", mean([float(item.ended) for item in completions]), "share"),
    ]
