"""How many tokens rows have: measured distributions, and what templates, truncation and padding make of them.

Measured by `python -m pytest tests/benchmarks/test_token_lengths.py -m benchmark -s` with the tokenizer of Mistral 7B
v0.1 (32,000 words; the first version in the package mistral-common): HH-RLHF's upstream test files, the answers of
PKU-SafeRLHF that JailbreakEval ships, Alpaca's first 5,000 rows, MMLU's and BBH's test questions, and the prompts of
AlpacaEval, RealToxicityPrompts (challenging) and DangerousQA. GPT-2's tokenizer, which the command takes where the
other is not at hand, makes 2 to 10 % fewer tokens of the same text.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from workers.specs.data import PreferenceData, Template
from workers.world.tokenizer import split_words

_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Lengths:
    """A distribution of lengths in tokens: the means of its twentieths, shortest first."""

    parts: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean length."""
        return sum(self.parts) / len(self.parts)

    def plus(self, tokens: float) -> "Lengths":
        """Every row longer by as much."""
        return Lengths(tuple(part + tokens for part in self.parts))

    def cut(self, longest: float) -> "Lengths":
        """No row longer than `longest`."""
        return Lengths(tuple(min(part, longest) for part in self.parts))

    def longest_of(self, rows: float) -> float:
        """The expected length of the longest of `rows` rows drawn at random: what a batch is padded to."""
        count = len(self.parts)
        below = [pow(place / count, rows) for place in range(count + 1)]
        return float(sum((below[place + 1] - below[place]) * part for place, part in enumerate(self.parts)))


@dataclass(frozen=True)
class PairLengths:
    """Pairs without a template: prompt with the chosen answer, with the longer one, and turns of a prompt."""

    chosen: Lengths
    longer: Lengths
    turns: float


def _lengths(*parts: float) -> Lengths:
    return Lengths(parts)


HH_HARMLESS = PairLengths(
    _lengths(18, 27, 35, 43, 53, 63, 75, 85, 96, 107, 121, 134, 148, 163, 185, 212, 242, 286, 353, 526),
    _lengths(25, 39, 50, 60, 71, 82, 94, 105, 115, 128, 142, 156, 171, 191, 215, 243, 274, 319, 387, 577),
    2.5,
)
HH_HELPFUL = PairLengths(
    _lengths(24, 37, 48, 60, 72, 87, 101, 112, 126, 142, 158, 175, 194, 214, 233, 260, 296, 345, 410, 583),
    _lengths(30, 47, 60, 72, 86, 100, 112, 126, 141, 156, 173, 191, 210, 229, 252, 280, 316, 361, 427, 599),
    2.5,
)
BEAVERTAILS = PairLengths(
    _lengths(18, 28, 35, 43, 52, 57, 62, 67, 73, 81, 87, 93, 98, 104, 112, 122, 132, 145, 167, 229),
    _lengths(24, 43, 55, 65, 72, 80, 89, 94, 99, 105, 110, 117, 124, 128, 135, 144, 155, 166, 184, 245),
    1.0,
)
PAIRS = {
    ("hh-rlhf", "harmless"): HH_HARMLESS,
    ("hh-rlhf", "helpful"): HH_HELPFUL,
    ("beavertails", "harmless"): BEAVERTAILS,
    ("beavertails", "helpful"): BEAVERTAILS,
}
WORLD_PAIRS = {
    "hh-rlhf": PairLengths(_lengths(12, 15, 25, 33, 43), _lengths(14, 17, 27, 35, 45), 1.8),
    "beavertails": PairLengths(_lengths(12, 13, 14, 16, 18), _lengths(13, 15, 16, 17, 19), 1.0),
}
"""Those of the embedded world, in its own words."""

ALPACA = _lengths(18, 24, 28, 31, 34, 38, 43, 49, 56, 63, 71, 80, 88, 97, 106, 117, 128, 145, 172, 263)
MMLU = _lengths(36, 42, 47, 50, 54, 58, 63, 68, 73, 79, 86, 94, 105, 114, 122, 139, 177, 233, 301, 447)
"""A question with its four choices."""
BBH = _lengths(16, 26, 32, 37, 45, 52, 57, 64, 75, 86, 110, 123, 136, 152, 165, 175, 190, 215, 235, 311)
PROMPTS = {"alpaca_eval": 39.4, "realtoxicity": 17.1, "red_instruct": 10.0, "prompts": 40.0}
"""Mean tokens of the prompts of each format."""
MMLU_SHOT = 110.0
MMLU_DESCRIPTION = 15.0
BBH_SHOT = 110.0
"""A worked example; lm-eval's three and the task's description make a question of 115 tokens one of 445."""
FEW_SHOT = {
    "mnli": (9_815, 1, 45.0),
    "mrpc": (408, 1, 70.0),
    "rte": (277, 1, 80.0),
    "qnli": (5_463, 1, 60.0),
    "sst2": (872, 1, 35.0),
    "wnli": (71, 1, 45.0),
    "arc_easy": (570, 4, 35.0),
    "arc_challenge": (299, 4, 40.0),
    "hellaswag": (10_042, 4, 100.0),
    "lambada": (5_153, 1, 90.0),
}
"""Few-shot sets: items (quantization study, section 7.2), readings of an item (answers of one token share one), and
about how many tokens an item with its answer has; not measured."""
WORLD_TEXT = 21.0
WORLD_INSTRUCTION = 16.0
WORLD_QUESTION = 8.0
UNKNOWN_ROW = 300.0
"""A row of data that nothing is known of, at most half of the longest allowed."""


def pair_lengths(data: PreferenceData, template: Template, max_length: int) -> PairLengths:
    """The lengths of a preference set in a template, truncated; a mixture lies between its parts."""
    return _pair_lengths(
        data.dataset, data.preference, data.source.world is not None, template, float(max_length)
    )


def unknown_row(max_length: float) -> float:
    """The length of a row of data that nothing is known of."""
    return min(max_length / 2, UNKNOWN_ROW)


def template_tokens(template: Template, turns: float, world: bool = False) -> float:
    """The tokens of a template's literals around a dialogue of `turns` turns."""
    split = split_words if world else _WORD.findall
    turn = len(split(template.turn.replace("{prompt}", " ").replace("{response}", " ")))
    return len(split(template.system)) + turn * (turns if template.multi_turn == "every" else 1.0)


@lru_cache(maxsize=256)
def _pair_lengths(
    dataset: str, preference: str, world: bool, template: Template, longest: float
) -> PairLengths:
    plain = WORLD_PAIRS.get(dataset) if world else _published(dataset, preference)
    if plain is None:
        row = Lengths((unknown_row(longest),))
        return PairLengths(row, row, 1.0)
    around = template_tokens(template, plain.turns, world)
    chosen, longer = plain.chosen.plus(around).cut(longest), plain.longer.plus(around).cut(longest)
    return PairLengths(chosen, longer, plain.turns)


def _published(dataset: str, preference: str) -> PairLengths | None:
    parts = [PAIRS.get((dataset, one)) for one in preference.split("+")]
    known = [part for part in parts if part is not None]
    return _between(known) if known else None


def _between(sets: list[PairLengths]) -> PairLengths:
    """Half-way between sets, length by length in their order."""
    chosen, longer = ([getattr(one, side).parts for one in sets] for side in ("chosen", "longer"))
    turns = sum(one.turns for one in sets) / len(sets)
    return PairLengths(_average(chosen), _average(longer), turns)


def _average(parts: list[tuple[float, ...]]) -> Lengths:
    return Lengths(tuple(sum(column) / len(column) for column in zip(*parts, strict=True)))
