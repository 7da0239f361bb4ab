"""Preference accuracy: does the model find the preferred answer of a held-out pair more probable?

Compared are mean log-probabilities per token of the answer with its end mark, so that length does not decide;
a tie counts one half. Pairs that share a prompt are one cluster of the standard error. Tokens are those of
training, but nothing is cut: a pair that does not fit the context is left out and counted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from results.records import MetricRow
from workers.context import BadInput, StageContext, metric
from workers.data.dialogues import Pair
from workers.data.preferences import load_pairs
from workers.data.tokenization import Tokenization, TokenizedPair
from workers.evaluation.batches import Tokens
from workers.evaluation.benchmark import Measurement, Sample, dropped_row, estimate_row
from workers.evaluation.candidate import Candidate
from workers.evaluation.recall import recalled
from workers.evaluation.scoring import Scored
from workers.evaluation.sources import locate, spread
from workers.evaluation.statistics import clustered_mean
from workers.evaluation.templates import renderer
from workers.specs.data import PreferenceData
from workers.specs.evaluate import Benchmark

UNLIMITED = 1 << 30
TASK = "preference_accuracy"


@dataclass(frozen=True)
class PairSet:
    """The pairs of one set that fit, their tokens, and how many of them were left out."""

    pairs: list[Pair]
    tokens: list[TokenizedPair]
    dropped: int

    @property
    def size(self) -> int:
        """About how many tokens the pairs have."""
        return 2 * sum(pair.length for pair in self.tokens)

    def requests(self) -> list[tuple[Tokens, Tokens]]:
        """Chosen and rejected answer of each pair, in turn."""
        return [
            (pair.prompt_ids, answer)
            for pair in self.tokens
            for answer in (pair.chosen_ids, pair.rejected_ids)
        ]

    def prompts(self) -> list[object]:
        """What the pairs are clustered by."""
        return [(pair.history, pair.prompt) for pair in self.pairs]


@dataclass(frozen=True)
class Comparison:
    """Log-probabilities in nats of the two answers of a pair: summed, and by token."""

    chosen: float
    rejected: float
    chosen_mean: float
    rejected_mean: float

    @property
    def by_token(self) -> float:
        """1, 0, or one half for a tie."""
        return wins(self.chosen_mean, self.rejected_mean)

    @property
    def summed(self) -> float:
        """The same for the sums, which favour short answers."""
        return wins(self.chosen, self.rejected)


def wins(chosen: float, rejected: float) -> float:
    """1 when the chosen answer is more probable, 0 when less, one half for a tie; NaN stays NaN."""
    if math.isnan(chosen) or math.isnan(rejected):
        return math.nan
    return 0.5 if chosen == rejected else float(chosen > rejected)


def measure(benchmark: Benchmark, candidate: Candidate) -> Measurement:
    """Accuracy on each set of `benchmark.preferences`; the first set's is primary.

    A set is called by its preference, and from the second set of a preference on by `preference.dataset`. It
    has its accuracy, and with a suffix the accuracy by summed log-probabilities (`.summed`), the mean margin
    in nats per token (`.margin`), its `.prompts`, and the pairs that do not fit (`.dropped`).

    Raises:
        BadInput: no set is given, or its data is missing or malformed.
    """
    if not benchmark.preferences:
        raise BadInput("preference_accuracy needs `preferences`: one entry for each set of held-out pairs")
    rows: list[MetricRow] = []
    samples: list[Sample] = []
    for name, data in named_sets(benchmark.preferences).items():
        pairs = _pairs(data, benchmark.limit, candidate)
        compared = comparisons(pairs, candidate.score(pairs.requests()))
        rows += _rows(name, pairs, compared)
        samples += [
            _sample(len(samples) + place, pair, found)
            for place, (pair, found) in enumerate(zip(pairs.pairs, compared, strict=True))
        ]
    first = rows[0]
    primary = MetricRow(**{**first, "metric": "accuracy", "primary": True})
    return Measurement([primary, *rows], samples)


def named_sets(sets: Sequence[PreferenceData]) -> dict[str, PreferenceData]:
    """Each set under its name.

    Raises:
        BadInput: two sets have the same preference and data set.
    """
    named: dict[str, PreferenceData] = {}
    for data in sets:
        name = data.preference if data.preference not in named else f"{data.preference}.{data.dataset}"
        if name in named:
            raise BadInput(f"preference_accuracy: two sets are {data.preference} of {data.dataset}")
        named[name] = data
    return named


def comparisons(pairs: PairSet, scored: list[Scored]) -> list[Comparison]:
    """The two log-probabilities of each pair, from the scores of `pairs.requests()`."""
    chosen, rejected = scored[0::2], scored[1::2]
    return [
        Comparison(
            good.log_probability,
            bad.log_probability,
            good.log_probability / len(pair.chosen_ids),
            bad.log_probability / len(pair.rejected_ids),
        )
        for pair, good, bad in zip(pairs.tokens, chosen, rejected, strict=True)
    ]


def _pairs(data: PreferenceData, limit: int | None, candidate: Candidate) -> PairSet:
    location = locate(data.source, candidate.context)
    texts = (data.model_dump_json(), candidate.recipe.template.model_dump_json())
    key = (TASK, location.key(), texts, limit, candidate.max_length, candidate.tokenizer_digest)
    return recalled(
        candidate.context.memory, key, lambda: tokenized_pairs(data, limit, candidate, candidate.context)
    )


def tokenized_pairs(
    data: PreferenceData, limit: int | None, candidate: Candidate, context: StageContext
) -> PairSet:
    """The held-out pairs of a set that fit the context, at most `limit` before that, evenly spaced.

    Raises:
        BadInput: the data is missing or malformed.
    """
    pairs = spread(load_pairs(context, data, "test").pairs, limit)
    tokenization = Tokenization(candidate.tokenizer, renderer(candidate), UNLIMITED, UNLIMITED)
    usable = [(pair, tokens) for pair in pairs for tokens in tokenization.pairs([pair])]
    kept = [(pair, tokens) for pair, tokens in usable if tokens.length - 1 <= candidate.max_length]
    return PairSet([pair for pair, _ in kept], [tokens for _, tokens in kept], len(pairs) - len(kept))


def _rows(name: str, pairs: PairSet, compared: list[Comparison]) -> list[MetricRow]:
    prompts = pairs.prompts()
    margins = [each.chosen_mean - each.rejected_mean for each in compared]
    return [
        estimate_row(TASK, name, clustered_mean([each.by_token for each in compared], prompts), "share"),
        estimate_row(
            TASK, f"{name}.summed", clustered_mean([each.summed for each in compared], prompts), "share"
        ),
        estimate_row(TASK, f"{name}.margin", clustered_mean(margins, prompts), "nats"),
        metric(TASK, len(set(prompts)), metric=f"{name}.prompts", n=len(pairs.pairs), unit="prompts"),
        {**dropped_row(TASK, pairs.dropped, len(pairs.pairs) + pairs.dropped), "metric": f"{name}.dropped"},
    ]


def _sample(place: int, pair: Pair, compared: Comparison) -> Sample:
    verdict = {1.0: "chosen", 0.0: "rejected", 0.5: "tie"}.get(compared.by_token)
    return Sample(
        task=TASK,
        item=place,
        prompt=pair.prompt,
        completion=pair.rejected if verdict == "rejected" else pair.chosen,
        reference=pair.chosen,
        score=compared.chosen_mean - compared.rejected_mean,
        verdict=verdict,
        generated=False,
    )
