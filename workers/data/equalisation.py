"""Draws from two data sets that are alike in the structure and the lengths of their rows.

HH-RLHF and PKU-SafeRLHF differ not only in the quality of their preferences but in turns and lengths (alignment
study, section 8). Each cell loads both sets, counts the rows of every class of length, and takes from its own as
many of a class as both can give. The rule is symmetric, so the cells of the two sets draw equal numbers.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence

from workers.context import BadInput, StageContext
from workers.data.dialogues import Pair
from workers.data.preferences import PairSet, load_pairs
from workers.specs.data import Equalisation, PreferenceData

LengthClass = tuple[int, int]


def equalised(
    context: StageContext, data: PreferenceData, found: PairSet, ranked: Sequence[Pair]
) -> list[Pair]:
    """The first of `ranked` in every class of length, as many as `data.equalise.dataset` can give too.

    `found` is told what was left out because of earlier turns. Fewer than `data.samples` pairs are drawn where
    the two sets have fewer in common.

    Raises:
        BadInput: `data` is a mixture, the other set cannot be read, or the two have no class in common.
    """
    rule = data.equalise
    assert rule is not None
    if data.preference == "harmless+helpful":
        raise BadInput("`equalise` compares single preferences; a mixture has no other data set to be like")
    own = structured(ranked, rule)
    found.dropped["several turns"] += len(ranked) - len(own)
    other = data.model_copy(
        update={"dataset": rule.dataset, "source": rule.source, "equalise": None, "expected_pairs": None}
    )
    rivals = structured(load_pairs(context, other, "train").pairs, rule)
    quotas = common_quotas(_counts(own, rule), _counts(rivals, rule), data.samples)
    if not quotas:
        raise BadInput(
            f"{data.dataset} and {rule.dataset} ({data.preference}) have no class of length in common"
        )
    return _first(own, rule, quotas)


def structured(pairs: Sequence[Pair], rule: Equalisation) -> list[Pair]:
    """The pairs whose prompts have the structure that is wanted."""
    return [pair for pair in pairs if not (rule.single_turn and pair.history)]


def length_class(pair: Pair, bounds: Sequence[int]) -> LengthClass:
    """The classes of the prompt's and of the longer answer's words."""
    answer = max(len(pair.chosen.split()), len(pair.rejected.split()))
    return bisect_left(bounds, len(pair.prompt.split())), bisect_left(bounds, answer)


def common_quotas(
    own: Mapping[LengthClass, int], other: Mapping[LengthClass, int], samples: int | None
) -> dict[LengthClass, int]:
    """How many rows of every class both sets can give, brought down to `samples` in all by largest remainder.

    Symmetric in the two sets.
    """
    common = {name: min(own[name], other[name]) for name in sorted(own.keys() & other.keys())}
    total = sum(common.values())
    if samples is None or total <= samples:
        return common
    quotas = {name: samples * count // total for name, count in common.items()}
    rests = sorted(common, key=lambda name: (-(samples * common[name] % total), name))
    for name in rests[: samples - sum(quotas.values())]:
        quotas[name] += 1
    return quotas


def _counts(pairs: Sequence[Pair], rule: Equalisation) -> Counter[LengthClass]:
    return Counter(length_class(pair, rule.lengths) for pair in pairs)


def _first(pairs: Sequence[Pair], rule: Equalisation, quotas: Mapping[LengthClass, int]) -> list[Pair]:
    left = dict(quotas)
    drawn = []
    for pair in pairs:
        name = length_class(pair, rule.lengths)
        if left.get(name, 0) > 0:
            left[name] -= 1
            drawn.append(pair)
    return drawn
