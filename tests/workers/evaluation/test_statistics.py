import numpy as np
import pytest
from lm_eval.api.metrics import mean_stderr

from workers.evaluation.statistics import clustered_mean, mean, ratio


def test_mean_has_lm_evals_standard_error():
    items = [0.0, 1.0, 1.0, 0.0, 1.0]
    found = mean(items)
    assert found.value == pytest.approx(0.6)
    assert found.stderr == pytest.approx(mean_stderr(items))
    assert found.n == 5


def test_clusters_of_equal_items_count_as_one_item():
    once = mean([0.0, 1.0, 1.0])
    twice = clustered_mean([0.0, 0.0, 1.0, 1.0, 1.0, 1.0], ["a", "a", "b", "b", "c", "c"])
    assert twice.value == pytest.approx(once.value)
    assert twice.stderr == pytest.approx(once.stderr)
    assert twice.n == 6


def test_clustered_error_covers_the_truth():
    generator = np.random.default_rng(0)
    clusters = np.repeat(np.arange(60), 4)
    hits = 0
    for _ in range(300):
        found = clustered_mean(
            (np.repeat(generator.normal(size=60), 4) + generator.normal(size=240)).tolist(), clusters
        )
        hits += abs(found.value) < 1.96 * found.stderr
    assert 0.91 < hits / 300 < 0.98


def test_ratio_weighs_by_denominator():
    found = ratio([2.0, 6.0], [1.0, 3.0])
    assert found.value == pytest.approx(2.0)
    assert found.stderr == pytest.approx(0.0)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_too_few_items_have_no_error(values):
    assert mean(values).stderr is None
    assert mean(values).value == (values[0] if values else None)


def test_one_cluster_has_no_error():
    assert clustered_mean([0.0, 1.0], ["a", "a"]).stderr is None
