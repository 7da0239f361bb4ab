"""Readings of a curve: what one number says of a line of scores over steps, or over another abscissa.

In every function the line is in the order of its steps, and None says that it has too few points.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from results.studies.scores import Score

Reading = Literal["best", "curvature", "peak", "rise", "shortfall", "beyond"]
Line = Sequence[Score]


def fitted_gain(line: Line) -> float:
    """The least-squares slope of a score over steps, times the steps from the first snapshot to the last."""
    steps = np.asarray([each.step for each in line])
    slope = np.polyfit(steps - steps.mean(), [each.value for each in line], 1)[0]
    return float(slope * (steps[-1] - steps[0]))


def nearest(line: Line, share: float, last: float) -> Score | None:
    """The snapshot nearest to `share` of a training of `last` steps."""
    return min(line, key=lambda each: abs(each.step / last - share), default=None)


def best(line: Line, split: float) -> float | None:
    """The highest score."""
    return max((each.value for each in line), default=None)


def curvature(line: Line, split: float) -> float | None:
    """The quadratic term of a parabola fitted over the line's range, taken as 0 to 1."""
    steps = np.asarray([each.step for each in line])
    if len(line) < 3 or steps[0] == steps[-1]:
        return None
    places = (steps - steps[0]) / (steps[-1] - steps[0])
    return float(np.polyfit(places, [each.value for each in line], 2)[0])


def peak(line: Line, split: float) -> float | None:
    """The step of the highest score, the first of equal ones."""
    return max(line, key=lambda each: each.value).step if line else None


def rise(line: Line, split: float) -> float | None:
    """The mean of the last `split` points less the first point."""
    if len(line) < 2:
        return None
    last = line[-int(split) :] if split >= 1 else line[-1:]
    return float(np.mean([each.value for each in last]) - line[0].value)


def shortfall(line: Line, split: float) -> float | None:
    """How far the best score at an abscissa below `split` stays behind the best of all."""
    below = [each.value for each in line if each.step < split]
    return max(each.value for each in line) - max(below) if below else None


def beyond(line: Line, split: float) -> float | None:
    """The score at the largest abscissa, where that exceeds `split`, less the best up to `split`."""
    below = [each.value for each in line if each.step <= split]
    last = max(line, key=lambda each: each.step, default=None)
    return last.value - max(below) if last is not None and below and last.step > split else None


READINGS: dict[Reading, Callable[[Line, float], float | None]] = {
    "best": best,
    "curvature": curvature,
    "peak": peak,
    "rise": rise,
    "shortfall": shortfall,
    "beyond": beyond,
}

WORDS: dict[Reading, str] = {
    "best": "best of all checkpoints",
    "curvature": "quadratic term",
    "peak": "step of the highest",
    "rise": "mean of the last {split:g} less the first",
    "shortfall": "best of all less best below {split:g}",
    "beyond": "beyond {split:g} less best up to there",
}
"""The readings for a reader."""
