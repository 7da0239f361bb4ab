"""Readings of a curve, by hand."""

import pytest

from results.studies.readings import best, beyond, curvature, nearest, peak, rise, shortfall
from results.studies.scores import Score


def line(*points: tuple[float, float]) -> list[Score]:
    return [Score(value, step=step) for step, value in points]


CURVE = line((20, 30.0), (60, 40.0), (100, 50.0), (140, 50.0), (180, 45.0))


def test_the_highest_and_where_it_is_first_reached() -> None:
    assert (best(CURVE, 0), peak(CURVE, 0)) == (50.0, 100)
    assert (best([], 0), peak([], 0)) == (None, None)


def test_the_quadratic_term_over_the_range() -> None:
    parabola = line(*((step, 3 - 8 * ((step - 10) / 40) ** 2) for step in (10, 20, 30, 40, 50)))
    assert curvature(parabola, 0) == pytest.approx(-8)
    assert curvature(parabola[:2], 0) is None
    assert curvature(line((5, 1.0), (5, 2.0), (5, 3.0)), 0) is None


def test_the_rise_from_the_first_point() -> None:
    assert rise(CURVE, 2) == pytest.approx(47.5 - 30)
    assert rise(CURVE, 1) == pytest.approx(45 - 30)
    assert rise(CURVE[:1], 10) is None


def test_how_much_is_had_below_an_abscissa_and_what_becomes_of_it_beyond() -> None:
    by_kl = line((0.01, 35.0), (0.05, 48.0), (0.3, 50.0), (0.25, 44.0))
    assert shortfall(by_kl, 0.1) == pytest.approx(2.0)
    assert shortfall(by_kl, 0.005) is None
    assert beyond(by_kl, 0.2) == pytest.approx(50.0 - 48.0)
    assert beyond(by_kl, 0.5) is None


@pytest.mark.parametrize(("share", "step"), [(1 / 3, 60), (100 / 180, 100), (0.0, 20), (1.0, 180)])
def test_the_checkpoint_as_far_along(share: float, step: float) -> None:
    found = nearest(CURVE, share, 180)
    assert found is not None and found.step == step
    assert nearest([], share, 180) is None
