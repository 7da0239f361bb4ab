"""What is concluded from paired scores, claim by claim.

In a store the replicates are seeds: each seed gives the mean over cells, and their t interval covers new seeds, on
the same prompts. Published figures have no seeds: there the cells are the replicates.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import atanh, inf, isfinite, nan
from typing import Any

import numpy as np

from results.statistics import (
    CONFIDENCE,
    Interval,
    best_interval,
    equivalence_p,
    holm,
    mean_interval,
    rank_correlation,
    two_sided_p,
)
from results.studies.pairs import Pairs
from results.studies.statements import Claim
from results.studies.verdicts import LEVEL, Sign, Verdict, different, equal, on_side, share, signed


@dataclass(frozen=True)
class Conclusion:
    """A test's outcome. Of `compared` cells `agree` have a mean over seeds that agrees with the claim."""

    effect: Interval
    p: float
    verdict: Verdict
    agree: int
    compared: int


@dataclass(frozen=True)
class Setting:
    """What a claim is judged by: its name, threshold and margin, and whether seeds or cells are the replicates."""

    claim: Claim
    threshold: float
    margin: float
    by_seed: bool


def conclude(pairs: Pairs[Any], setting: Setting) -> Conclusion:
    """The conclusion from pairs of which there is at least one."""
    if np.isinf(pairs.left).any() and setting.claim not in RANKED:
        return _diverged(pairs, setting)
    return CLAIMS.get(setting.claim, _sign)(pairs, setting)


def replicates(
    differences: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", by_seed: bool
) -> list[float]:
    """The mean over cells for each seed, or the mean over seeds for each cell."""
    return [float(value) for value in differences.mean(axis=0 if by_seed else 1)]


def _interval(values: list[float], confidence: float = CONFIDENCE) -> Interval:
    return _judged(mean_interval(values, confidence))


def _judged(effect: Interval) -> Interval:
    """Replicates that are all alike have no spread to judge by, so they give no bounds."""
    return replace(effect, low=nan, high=nan, stderr=nan) if effect.stderr == 0 else effect


def _signed(effect: Interval, sign: Sign, threshold: float = 0.0) -> Verdict:
    """`signed`, but several replicates without a spread refute nothing."""
    found = signed(effect, sign, threshold)
    return "undecided" if found == "fails" and effect.n > 1 and not effect.known else found


def _sign(pairs: Pairs[Any], setting: Setting) -> Conclusion:
    effect = _interval(replicates(pairs.differences, setting.by_seed))
    sides = [on_side(value, setting.claim, setting.threshold) for value in _by_cell(pairs)]  # type: ignore[arg-type]
    verdict = _signed(effect, setting.claim, setting.threshold)  # type: ignore[arg-type]
    return Conclusion(effect, two_sided_p(effect, setting.threshold), verdict, sum(sides), len(sides))


def _diverged(pairs: Pairs[Any], setting: Setting) -> Conclusion:
    """A run that diverged is worse than any, so no mean exists: only a claim to be above can be met, by every run.

    It holds where all of several runs diverged, leans where the others too are on the stated side.
    """
    differences = pairs.differences
    above = setting.claim in ("greater", "at_least", "differs")
    threshold = setting.threshold if above else setting.margin
    sides = [above and on_side(value, "greater", threshold) for value in _by_cell(pairs)]
    verdict: Verdict = "fails"
    if above and (differences > threshold).all():
        verdict = "holds" if np.isinf(differences).all() and differences.size > 1 else "leans"
    return Conclusion(Interval(inf, nan, nan, differences.size), nan, verdict, sum(sides), len(sides))


def _differs(pairs: Pairs[Any], setting: Setting) -> Conclusion:
    effect = _interval(replicates(pairs.differences, setting.by_seed))
    outside = sum(abs(value) > setting.margin for value in _by_cell(pairs))
    verdict = different(effect, setting.margin)
    return Conclusion(effect, two_sided_p(effect), verdict, outside, len(pairs.cells))


def _diverges(pairs: Pairs[Any], setting: Setting) -> Conclusion:
    """`pairs` has 1 for a run that diverged and 0 for one that did not; its effect is their share."""
    runs = pairs.left.ravel()
    effect = share_interval(int(runs.sum()), len(runs))
    agree = int((pairs.left.mean(axis=1) > 0.5).sum())
    return Conclusion(effect, nan, share(effect), agree, len(pairs.cells))


def share_interval(count: int, runs: int) -> Interval:
    """The share of runs with Clopper and Pearson's 95 % interval (1934)."""
    from scipy import stats

    found = stats.binomtest(count, runs).proportion_ci(1 - LEVEL)
    return Interval(count / runs, float(found.low), float(found.high), runs)


def _equal(pairs: Pairs[Any], setting: Setting) -> Conclusion:
    effect = _interval(replicates(pairs.differences, setting.by_seed))
    inside = sum(abs(value) < setting.margin for value in _by_cell(pairs))
    p, verdict = equivalence_p(effect, setting.margin), equal(effect, setting.margin)
    return Conclusion(effect, p, verdict, inside, len(pairs.cells))


def _small(pairs: Pairs[Any], setting: Setting) -> Conclusion:
    """Noise widens absolute differences, so the claim is judged strictly rather than leniently."""
    effect = _interval(replicates(np.abs(pairs.differences), setting.by_seed))
    inside = sum(abs(value) < setting.margin for value in _by_cell(pairs))
    verdict = _signed(effect, "less", setting.margin)
    return Conclusion(effect, two_sided_p(effect, setting.margin), verdict, inside, len(pairs.cells))


def _somewhere(pairs: Pairs[Any], setting: Setting) -> Conclusion:
    """The cell with the smallest corrected p on the stated side; its interval is Bonferroni's over all cells."""
    cells = [list(map(float, row)) for row in pairs.differences]
    corrected = holm([two_sided_p(_interval(row)) for row in cells])
    means = [float(np.mean(row)) for row in cells]
    agree = sum(mean > 0 for mean in means)
    best = max(
        range(len(cells)), key=lambda place: (means[place] > 0, -_or_one(corrected[place]), means[place])
    )
    effect = _interval(cells[best], 1 - LEVEL / len(cells))
    clear = means[best] > 0 and corrected[best] < LEVEL
    verdict: Verdict = "holds" if clear else "leans" if agree else "fails"
    return Conclusion(effect, corrected[best], verdict, agree, len(cells))


def _best(pairs: Pairs[Any], setting: Setting) -> Conclusion:
    """`pairs` has the candidate against each other arm; p is Bonferroni's, of the difference to the closest."""
    others = [list(map(float, row)) for row in pairs.right]
    effect = _judged(best_interval([float(value) for value in pairs.left[0]], others))
    agree = int(effect.mean > 0)
    p = min(1.0, two_sided_p(effect) * len(others)) if isfinite(effect.stderr) else nan
    return Conclusion(effect, p, _signed(effect, "greater"), agree, 1)


def _correlated(pairs: Pairs[Any], setting: Setting) -> Conclusion:
    """Over cells, of the means over seeds; p is one-sided, of a correlation at the threshold."""
    if len(pairs.cells) < 2:
        return Conclusion(Interval(nan, nan, nan, len(pairs.cells)), nan, "undecided", 0, 1)
    effect = rank_correlation(replicates(pairs.left, by_seed=False), replicates(pairs.right, by_seed=False))
    positive = setting.claim == "correlated"
    verdict = signed(effect, "greater" if positive else "less", setting.threshold)
    p = _above(effect, setting.threshold)
    agree = int(on_side(effect.mean, "greater" if positive else "less", setting.threshold))
    return Conclusion(effect, p if positive else 1 - p, verdict, agree, 1)


def _above(correlation: Interval, threshold: float) -> float:
    from scipy import special

    if not correlation.known:
        return nan
    distance = atanh(correlation.mean) - atanh(threshold)
    return float(special.ndtr(-distance / correlation.stderr))


def _by_cell(pairs: Pairs[Any]) -> list[float]:
    return replicates(pairs.differences, by_seed=False)


def _or_one(p: float) -> float:
    return p if isfinite(p) else 1.0


CLAIMS: dict[Claim, Callable[[Pairs[Any], Setting], Conclusion]] = {
    "equal": _equal,
    "small": _small,
    "somewhere_greater": _somewhere,
    "best": _best,
    "correlated": _correlated,
    "anticorrelated": _correlated,
    "differs": _differs,
    "diverges": _diverges,
}
RANKED: tuple[Claim, ...] = ("correlated", "anticorrelated")
"""Claims for which a run that diverged is simply the worst."""


def text(setting: Setting) -> str:
    """A claim as a reader sees it, with its threshold or margin."""
    signs = {
        "greater": ">",
        "less": "<",
        "at_least": "≥",
        "at_most": "≤",
        "correlated": ">",
        "anticorrelated": "<",
    }
    if setting.claim in signs:
        return f"{signs[setting.claim]} {setting.threshold:g}"
    if setting.claim in ("equal", "small"):
        return f"{'within' if setting.claim == 'equal' else 'below'} {setting.margin:g}"
    words = {
        "somewhere_greater": "> 0 somewhere",
        "best": "> 0",
        "diverges": "diverges",
        "differs": "differs from 0",
    }
    return words[setting.claim]
