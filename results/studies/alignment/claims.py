"""What is concluded from paired scores, claim by claim.

In a store the replicates are seeds: each seed gives the mean over cells, and their t interval covers new seeds, on
the same prompts. Published figures have no seeds: there the cells are the replicates.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import atanh, isfinite, nan

import numpy as np

from results.statistics import (
    Interval,
    best_interval,
    equivalence_p,
    holm,
    mean_interval,
    rank_correlation,
    two_sided_p,
)
from results.studies.alignment.pairs import Pairs
from results.studies.alignment.statements import Claim
from results.studies.verdicts import LEVEL, Verdict, equal, on_side, signed


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


def conclude(pairs: Pairs, setting: Setting) -> Conclusion:
    """The conclusion from pairs of which there is at least one."""
    return CLAIMS.get(setting.claim, _sign)(pairs, setting)


def replicates(
    differences: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", by_seed: bool
) -> list[float]:
    """The mean over cells for each seed, or the mean over seeds for each cell."""
    return [float(value) for value in differences.mean(axis=0 if by_seed else 1)]


def _sign(pairs: Pairs, setting: Setting) -> Conclusion:
    effect = mean_interval(replicates(pairs.differences, setting.by_seed))
    sides = [on_side(value, setting.claim, setting.threshold) for value in _by_cell(pairs)]  # type: ignore[arg-type]
    verdict = signed(effect, setting.claim, setting.threshold)  # type: ignore[arg-type]
    return Conclusion(effect, two_sided_p(effect, setting.threshold), verdict, sum(sides), len(sides))


def _equal(pairs: Pairs, setting: Setting) -> Conclusion:
    effect = mean_interval(replicates(pairs.differences, setting.by_seed))
    inside = sum(abs(value) < setting.margin for value in _by_cell(pairs))
    p, verdict = equivalence_p(effect, setting.margin), equal(effect, setting.margin)
    return Conclusion(effect, p, verdict, inside, len(pairs.cells))


def _small(pairs: Pairs, setting: Setting) -> Conclusion:
    """Noise widens absolute differences, so the claim is judged strictly rather than leniently."""
    effect = mean_interval(replicates(np.abs(pairs.differences), setting.by_seed))
    inside = sum(abs(value) < setting.margin for value in _by_cell(pairs))
    verdict = signed(effect, "less", setting.margin)
    return Conclusion(effect, two_sided_p(effect, setting.margin), verdict, inside, len(pairs.cells))


def _somewhere(pairs: Pairs, setting: Setting) -> Conclusion:
    """The cell with the smallest corrected p on the stated side; its interval is Bonferroni's over all cells."""
    cells = [list(map(float, row)) for row in pairs.differences]
    corrected = holm([two_sided_p(mean_interval(row)) for row in cells])
    means = [float(np.mean(row)) for row in cells]
    agree = sum(mean > 0 for mean in means)
    best = max(
        range(len(cells)), key=lambda place: (means[place] > 0, -_or_one(corrected[place]), means[place])
    )
    effect = mean_interval(cells[best], 1 - LEVEL / len(cells))
    clear = means[best] > 0 and corrected[best] < LEVEL
    verdict: Verdict = "holds" if clear else "leans" if agree else "fails"
    return Conclusion(effect, corrected[best], verdict, agree, len(cells))


def _best(pairs: Pairs, setting: Setting) -> Conclusion:
    """`pairs` has the candidate against each other arm; p is Bonferroni's, of the difference to the closest."""
    others = [list(map(float, row)) for row in pairs.right]
    effect = best_interval([float(value) for value in pairs.left[0]], others)
    agree = int(effect.mean > 0)
    p = min(1.0, two_sided_p(effect) * len(others)) if isfinite(effect.stderr) else nan
    return Conclusion(effect, p, signed(effect, "greater"), agree, 1)


def _correlated(pairs: Pairs, setting: Setting) -> Conclusion:
    """Over cells, of the means over seeds; p is one-sided, of a correlation at the threshold."""
    if len(pairs.cells) < 2:
        return Conclusion(Interval(nan, nan, nan, len(pairs.cells)), nan, "undecided", 0, 1)
    effect = rank_correlation(replicates(pairs.left, by_seed=False), replicates(pairs.right, by_seed=False))
    verdict = signed(effect, "greater", setting.threshold)
    return Conclusion(
        effect, _above(effect, setting.threshold), verdict, int(effect.mean > setting.threshold), 1
    )


def _above(correlation: Interval, threshold: float) -> float:
    from scipy import special

    if not correlation.known:
        return nan
    distance = atanh(correlation.mean) - atanh(threshold)
    return float(special.ndtr(-distance / correlation.stderr))


def _by_cell(pairs: Pairs) -> list[float]:
    return replicates(pairs.differences, by_seed=False)


def _or_one(p: float) -> float:
    return p if isfinite(p) else 1.0


CLAIMS: dict[Claim, Callable[[Pairs, Setting], Conclusion]] = {
    "equal": _equal,
    "small": _small,
    "somewhere_greater": _somewhere,
    "best": _best,
    "correlated": _correlated,
}


def text(setting: Setting) -> str:
    """A claim as a reader sees it, with its threshold or margin."""
    signs = {"greater": ">", "less": "<", "at_least": "≥", "at_most": "≤", "correlated": ">"}
    if setting.claim in signs:
        return f"{signs[setting.claim]} {setting.threshold:g}"
    if setting.claim in ("equal", "small"):
        return f"{'within' if setting.claim == 'equal' else 'below'} {setting.margin:g}"
    return {"somewhere_greater": "> 0 somewhere", "best": "> 0"}[setting.claim]
