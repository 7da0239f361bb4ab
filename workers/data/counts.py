"""Known counts of usable pairs, against what the drop rules leave of the files at hand.

The alignment study publishes its counts (sections 3.1 and 3.2). They tell the right revision of a data set from
a newer or smaller one of the same name, which would train without an error.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from workers.context import BadInput
from workers.specs.data import Preference, PreferenceData


@dataclass(frozen=True)
class Count:
    """What was found of a preference, and what was expected: None where nothing is known."""

    found: int
    expected: int | None
    tolerance: float = 0.0

    @property
    def difference(self) -> int:
        """Found less expected; 0 where nothing is expected."""
        return 0 if self.expected is None else self.found - self.expected

    @property
    def holds(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.expected is None or abs(self.difference) <= self.tolerance * self.expected


def count_of(data: PreferenceData, preference: Preference, found: int) -> Count:
    """`found` usable pairs beside the number that `data` expects of `preference`."""
    known = data.expected_pairs
    if known is None:
        return Count(found, None)
    return Count(found, known.harmless if preference == "harmless" else known.helpful, known.tolerance)


def check_count(data: PreferenceData, preference: Preference, found: int, dropped: Mapping[str, int]) -> None:
    """Do nothing where the count is as expected, or nothing is.

    Raises:
        BadInput: it is not; the message names both counts and what each rule dropped.
    """
    count = count_of(data, preference, found)
    if not count.holds:
        raise BadInput(mismatch(data, preference, count, dropped))


def mismatch(data: PreferenceData, preference: Preference, count: Count, dropped: Mapping[str, int]) -> str:
    """One message for a count that is not the expected one, and how to go on deliberately."""
    revision = f" at revision {data.source.revision}" if data.source.revision else ""
    return (
        f"{data.dataset} ({preference}) from {data.source.hub}{revision}: {count.found:,} usable training pairs, "
        f"but {count.expected:,} are expected (±{count.tolerance:.2%}); dropped: {drop_text(dropped)}. Another "
        "version of the data set, or a part of it? Pin its revision, or, to train on these rows, say so: "
        f"--set 'expected_pairs.{data.dataset}=null' in the shipped grids, else no `expected_pairs` in the recipe"
    )


def drop_text(dropped: Mapping[str, int]) -> str:
    """`12 empty, 3 equal`; `none` when nothing was dropped."""
    counted = Counter({reason: number for reason, number in dropped.items() if number})
    return ", ".join(f"{number:,} {reason}" for reason, number in counted.most_common()) or "none"
