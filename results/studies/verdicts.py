"""Verdicts on published statements: what an interval says of a claim.

A claim on a sign *holds* when the mean has it and the 95 % interval excludes zero, *leans* when only the mean has
it, *fails* when the mean has it not and the interval excludes zero, and is else *undecided*; a single figure, which
has no interval, leans or fails, and replicates that are all alike, which give none either, lean or are undecided.
Equality *holds* by two one-sided tests at 5 % within the stated margin, *fails* when the mean is outside the margin
and the interval excludes zero, *leans* when the mean is inside, and is else *undecided*. A difference of either sign is
the reverse of it. That runs diverge *holds* when all of several do, *fails* when none does. A training too short to
show what is claimed, or of another scale, makes it *not testable*.
"""

from collections.abc import Sequence
from math import isnan
from typing import Literal

from results.statistics import Interval, equivalence_p

Verdict = Literal["holds", "leans", "fails", "undecided", "not testable", "no data"]
Sign = Literal["greater", "less", "at_least", "at_most"]

LEVEL = 0.05


def signed(effect: Interval, sign: Sign, threshold: float = 0.0) -> Verdict:
    """Whether the effect is on the stated side of `threshold`."""
    if isnan(effect.mean):
        return "undecided"
    clear = effect.excludes(threshold)
    if on_side(effect.mean, sign, threshold):
        return "holds" if clear else "leans"
    return "fails" if clear or not effect.known else "undecided"


def on_side(value: float, sign: Sign, threshold: float = 0.0) -> bool:
    """Whether one value has the sign; a tie has it for `at_least` and `at_most`."""
    match sign:
        case "greater":
            return value > threshold
        case "less":
            return value < threshold
        case "at_least":
            return value >= threshold
    return value <= threshold


def equal(effect: Interval, margin: float) -> Verdict:
    """Whether the effect is zero for the purpose that the margin states."""
    inside = abs(effect.mean) < margin
    if equivalence_p(effect, margin) < LEVEL:
        return "holds"
    if not inside and effect.excludes(0.0):
        return "fails"
    return "leans" if inside else "undecided"


def different(effect: Interval, margin: float) -> Verdict:
    """Whether the effect is not zero; *fails* when it is equal to zero within the margin."""
    if effect.excludes(0.0):
        return "holds"
    return "fails" if equivalence_p(effect, margin) < LEVEL else "undecided"


def share(effect: Interval) -> Verdict:
    """Whether what `effect` is the share of always happens."""
    if effect.mean == 1:
        return "holds" if effect.n > 1 else "leans"
    return "fails" if effect.mean == 0 else "undecided"


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a statement from those of its tests; tests without data, or not testable, do not count.

    It holds when all hold, fails when all fail, leans when all hold or lean; when they disagree it is undecided.
    """
    known = [one for one in verdicts if one not in ("no data", "not testable")]
    if not known:
        return "not testable" if "not testable" in verdicts else "no data"
    if len(set(known)) == 1:
        return known[0]
    return "leans" if set(known) <= {"holds", "leans"} else "undecided"
