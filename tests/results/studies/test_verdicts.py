"""The rules by which an interval becomes a verdict."""

from math import nan

import pytest

from results.statistics import Interval, mean_interval
from results.studies.verdicts import equal, on_side, overall, signed


def between(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high, 5, (high - low) / 4, 4)


ALONE = Interval(0.3, nan, nan, 1)


@pytest.mark.parametrize(
    ("effect", "sign", "verdict"),
    [
        (between(0.1, 0.3), "greater", "holds"),
        (between(-0.1, 0.3), "greater", "leans"),
        (between(-0.3, 0.1), "greater", "undecided"),
        (between(-0.3, -0.1), "greater", "fails"),
        (between(-0.3, -0.1), "less", "holds"),
        (between(-0.3, -0.1), "at_most", "holds"),
        (between(0.1, 0.3), "at_least", "holds"),
        (between(-0.1, 0.1), "at_least", "leans"),
        (between(-0.1, 0.1), "greater", "undecided"),
        (ALONE, "greater", "leans"),
        (ALONE, "less", "fails"),
        (Interval(nan, nan, nan, 0), "less", "undecided"),
    ],
)
def test_a_claim_on_a_sign(effect: Interval, sign, verdict: str) -> None:
    assert signed(effect, sign) == verdict


def test_a_threshold_takes_the_place_of_zero() -> None:
    assert signed(between(-0.3, -0.2), "less", -0.1) == "holds"
    assert signed(between(-0.3, -0.05), "less", -0.1) == "leans"
    assert signed(between(-0.09, -0.01), "less", -0.1) == "fails"
    assert on_side(-0.1, "at_most", -0.1) and not on_side(-0.1, "less", -0.1)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.001, -0.001, 0.002], "holds"),
        ([0.02, 0.021, 0.022], "fails"),
        ([0.05, -0.04, 0.01], "leans"),
        ([0.08, -0.04, 0.02], "undecided"),
        ([0.006, 0.009, 0.012], "leans"),
        ([0.004], "leans"),
        ([0.04], "undecided"),
    ],
)
def test_equality_within_a_hundredth(values: list[float], verdict: str) -> None:
    """An interval that contains 0 is not equality: the last but three does, and leans at best."""
    assert equal(mean_interval(values), 0.01) == verdict


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        (["holds", "holds"], "holds"),
        (["fails", "fails", "no data"], "fails"),
        (["holds", "leans"], "leans"),
        (["holds", "fails"], "undecided"),
        (["leans", "undecided"], "undecided"),
        (["undecided"], "undecided"),
        (["no data"], "no data"),
        (["holds", "not testable"], "holds"),
        (["not testable", "no data"], "not testable"),
        ([], "no data"),
    ],
)
def test_a_statement_of_several_tests(verdicts, whole: str) -> None:
    assert overall(verdicts) == whole
