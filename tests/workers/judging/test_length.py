import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from workers.evaluation.statistics import mean
from workers.judging.length import PENALTY, length_controlled


def simulated(base: float, bias: float, n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    differences = generator.normal(150, 400, n).round()
    chance = expit(base + bias * np.tanh(differences / differences.std()))
    return (generator.random(n) < chance).astype(float), differences


def test_a_judge_that_likes_length_is_corrected():
    values, differences = simulated(0.0, 2.0)
    found = length_controlled(values, differences, range(len(values)))
    assert values.mean() > 0.58
    assert found.value == pytest.approx(0.5, abs=3 * found.stderr) and found.stderr < 0.02


def test_without_such_a_liking_it_is_the_mean_but_for_noise():
    values, differences = simulated(-0.4, 0.0)
    found = length_controlled(values, differences, range(len(values)))
    assert found.value == pytest.approx(values.mean(), abs=0.01)


def test_equals_a_general_minimiser():
    values, differences = simulated(0.3, -1.0, n=60)
    values[:7] = 0.5
    x = np.tanh(differences / differences.std())

    def loss(parameters: np.ndarray) -> float:
        logits = parameters[0] + parameters[1] * x
        return float(
            (np.logaddexp(0, logits) - values * logits).sum() + PENALTY * len(x) * parameters[1] ** 2
        )

    best = minimize(loss, np.zeros(2), method="BFGS", options={"gtol": 1e-9})
    assert length_controlled(values, differences, range(60)).value == pytest.approx(
        expit(best.x[0]), abs=1e-6
    )


def test_the_interval_covers():
    hits = 0
    for seed in range(200):
        values, differences = simulated(0.5, 1.0, n=300, seed=seed)
        found = length_controlled(values, differences, range(300))
        hits += abs(found.value - expit(0.5)) <= 1.96 * found.stderr
    assert hits >= 180


def test_copies_of_an_item_are_one_cluster():
    values, differences = simulated(0.2, 1.0, n=100)
    once = length_controlled(values, differences, range(100))
    twice = length_controlled(
        np.repeat(values, 2), np.repeat(differences, 2), np.repeat(np.arange(100), 2).tolist()
    )
    assert (twice.value, twice.stderr) == pytest.approx((once.value, once.stderr))


@pytest.mark.parametrize(
    ("values", "differences"),
    [([1.0, 0.0, 0.5], [7.0, 7.0, 7.0]), ([0.0, 0.0], [1.0, -5.0]), ([1.0, 1.0], [1.0, -5.0]), ([], [])],
)
def test_where_nothing_can_be_fitted_it_is_the_mean(values, differences):
    assert length_controlled(values, differences, range(len(values))) == mean(values)


def test_length_that_decides_alone_gives_a_finite_figure():
    found = length_controlled([1.0, 1.0, 0.0, 0.0], [300.0, 200.0, -100.0, -400.0], range(4))
    assert 0 < found.value < 1 and np.isfinite(found.stderr)
