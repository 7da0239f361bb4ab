"""Honest statistics for studies with a few seeds: what tables, effects and findings are made of.

Intervals and tests keep what they promise at five seeds. Each module has one idea; what the studies use most is
here. scipy is imported by the first call that needs it.
"""

from results.statistics.correlation import rank_correlation
from results.statistics.hypotheses import equivalence_p, holm, two_sided_p
from results.statistics.intervals import (
    CONFIDENCE,
    Interval,
    best_interval,
    combined_interval,
    mean_interval,
)

__all__ = [
    "CONFIDENCE",
    "Interval",
    "best_interval",
    "combined_interval",
    "equivalence_p",
    "holm",
    "mean_interval",
    "rank_correlation",
    "two_sided_p",
]
