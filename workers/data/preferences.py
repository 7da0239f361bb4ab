"""Preference pairs of a source, with what the drop rules removed (alignment study, section 3)."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from workers.context import BadInput, StageContext
from workers.data import beavertails
from workers.data.counts import check_count
from workers.data.dialogues import Pair, Unusable
from workers.data.files import Split, has_test_files, split_files
from workers.data.hh import hh_pair
from workers.data.layouts import LAYOUTS
from workers.data.rows import Row, read_rows
from workers.kinds import load_object, unknown
from workers.specs.data import Preference, PreferenceData

SINGLE: tuple[Preference, ...] = ("harmless", "helpful")


@dataclass
class PairSet:
    """Pairs of one split. `read` counts the rows of the files, `dropped` those that each rule removed."""

    pairs: list[Pair] = field(default_factory=list)
    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def extend(self, other: "PairSet") -> None:
        """Add another set's pairs and counts."""
        self.pairs.extend(other.pairs)
        self.read += other.read
        self.dropped.update(other.dropped)


def load_pairs(context: StageContext, data: PreferenceData, split: Split) -> PairSet:
    """Every usable pair of a split, in the files' order; for a mixture the union, its conflicts settled.

    Raises:
        BadInput: files are missing or malformed, no pair is left, the data set is unknown, or the training pairs
        are not as many as expected.
    """
    preferences = single_preferences(data)
    total = PairSet()
    for preference in preferences:
        total.extend(_load_one(context, data, preference, "test" if split == "test" else "train"))
    _keep_split(total, data.validation, split)
    if len(preferences) > 1:
        _settle_conflicts(total, data)
    if not total.pairs:
        raise BadInput(
            f"{data.dataset} ({data.preference}, {split}): none of {total.read} rows is usable: "
            f"{dict(total.dropped)}"
        )
    return total


def single_preferences(data: PreferenceData) -> tuple[Preference, ...]:
    """The preferences of `data`, apart."""
    return SINGLE if data.preference == "harmless+helpful" else (data.preference,)


def usable_pairs(
    context: StageContext, data: PreferenceData, preference: Preference, split: Split
) -> tuple[PairSet, int]:
    """Every pair of one preference that the drop rules leave, and how many of them `split` gets.

    They differ where one file holds all rows, which are divided by the prompt's hash.

    Raises:
        BadInput: as `load_pairs`, but counts are not compared.
    """
    found, whole = _read(context, data, preference, split)
    kept = _divided(found.pairs, data, split) if whole else found.pairs
    return found, len(kept)


def in_held_out(prompt: str, share: float, name: str = "held-out") -> bool:
    """Whether a prompt belongs to the share called `name`, by its hash: a prompt always falls on one side."""
    digest = hashlib.sha256(f"{name}/{prompt}".encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64


def _keep_split(total: PairSet, share: float, split: Split) -> None:
    """Divide the training pairs into those that train and those that validate, by their prompts."""
    if split == "test" or not share:
        if split == "validation":
            raise BadInput("there is no validation split: give the preferences a share, `validation: 0.1`")
        return
    kept = [
        pair
        for pair in total.pairs
        if in_held_out(pair.prompt, share, "validation") == (split == "validation")
    ]
    total.dropped["other split"] += len(total.pairs) - len(kept)
    total.pairs = kept


def _load_one(context: StageContext, data: PreferenceData, preference: Preference, split: Split) -> PairSet:
    found, whole = _read(context, data, preference, split)
    if split == "train" and data.source.world is None:
        check_count(data, preference, len(found.pairs), found.dropped)
    if whole:
        kept = _divided(found.pairs, data, split)
        found.dropped["other split"] += len(found.pairs) - len(kept)
        found.pairs = kept
    return found


def _divided(pairs: list[Pair], data: PreferenceData, split: Split) -> list[Pair]:
    return [pair for pair in pairs if in_held_out(pair.prompt, data.held_out) == (split == "test")]


def _read(
    context: StageContext, data: PreferenceData, preference: Preference, split: Split
) -> tuple[PairSet, bool]:
    """The usable pairs of the files, and whether they still have to be divided into training and test."""
    if ":" in data.dataset:
        return _from_loader(context, data, preference, split), False
    layouts = layouts_of(data.dataset)
    files = split_files(context, data.source, layouts, split, preference)
    rows = chain.from_iterable(read_rows(path) for path in files.paths)
    found = _parse(data.dataset, rows, preference)
    return found, files.whole or not has_test_files(context, data.source, layouts, preference)


def layouts_of(dataset: str) -> tuple[str, ...]:
    """Where the files of a data set usually lie.

    Raises:
        BadInput: it is not one of the built-in ones.
    """
    if dataset not in LAYOUTS:
        raise BadInput(unknown("preference data set", dataset, [*LAYOUTS, "module:object"]))
    return LAYOUTS[dataset]


def _from_loader(
    context: StageContext, data: PreferenceData, preference: Preference, split: Split
) -> PairSet:
    """Pairs of a user's loader `(context, data, preference, split) -> iterable of Pair`."""
    found = load_object(data.dataset)(context, data, preference, split)
    pairs = [_marked(pair, preference) for pair in found]
    return PairSet(pairs, len(pairs))


def _parse(dataset: str, rows: Iterator[Row], preference: str) -> PairSet:
    first = next(rows, None)
    if first is None:
        return PairSet()
    rows = chain([first], rows)
    if dataset == "beavertails" and all(name in first for name in beavertails.MINI_FIELDS):
        singles = list(rows)
        pairs, alone = beavertails.paired_answers(singles, preference)
        marked = [_marked(pair, preference) for pair in pairs]
        return PairSet(marked, len(singles), Counter({"answer alone": alone}))
    reader = hh_pair if dataset == "hh-rlhf" else beavertails.READERS[preference]
    return _read_each(rows, reader, preference)


def _read_each(rows: Iterable[Row], reader: Callable[[Row], Pair], preference: str) -> PairSet:
    found = PairSet()
    for row in rows:
        found.read += 1
        try:
            found.pairs.append(_marked(reader(row), preference))
        except Unusable as reason:
            found.dropped[str(reason)] += 1
    return found


def _settle_conflicts(total: PairSet, data: PreferenceData) -> None:
    """Keep one of equal pairs, and none of two that point in opposite ways; or all of either, as told."""
    orders: dict[tuple[object, ...], Pair] = {}
    for pair in total.pairs:
        orders.setdefault(_order(pair), pair)
    distinct = total.pairs if data.mixture_duplicates == "keep" else list(orders.values())
    total.dropped["repeated"] += len(total.pairs) - len(distinct)
    keep = data.mixture_conflicts == "keep"
    kept = [pair for pair in distinct if keep or _order(pair, swapped=True) not in orders]
    total.dropped["conflict"] += len(distinct) - len(kept)
    total.pairs = kept


def _order(pair: Pair, swapped: bool = False) -> tuple[object, ...]:
    answers = (pair.rejected, pair.chosen) if swapped else (pair.chosen, pair.rejected)
    return (pair.history, pair.prompt, *answers)


def _marked(pair: Pair, preference: str) -> Pair:
    return Pair(pair.prompt, pair.chosen, pair.rejected, pair.history, preference)
