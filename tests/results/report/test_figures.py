"""The report's columns are those of `results.load`."""

import numpy as np
import pandas as pd
import pytest

import results
from results.report.figures import metric_columns
from results.report.grouping import Group
from tests.results.lab import Lab, metric
from tests.results.report.lab import source, stored


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("figures") / "runs")


def columns(workspace):
    found = source(workspace)
    return metric_columns(found.experiments, found.members, found.metrics)


def test_values_and_errors_are_those_of_load(workspace) -> None:
    frame = results.load(workspace)
    found = columns(workspace)
    assert [one.name for one in found] == ["quiz", "sft", "quiz.length"]
    for one in found:
        np.testing.assert_array_equal(one.values, frame[one.name])
    np.testing.assert_array_equal(found[0].errors, frame["quiz.stderr"])
    assert (found[0].items, found[0].unit, found[0].known) == (100, "fraction", 10)


def test_of_several_figures_the_one_at_the_largest_step_counts_and_a_name_of_a_factor_gives_way(
    tmp_path,
) -> None:
    lab = Lab.at(tmp_path)
    lab.plan({"x": {"quiz": 1, "seed": 0}}, {"x": {"a": "one", "b": "two"}})
    lab.run("one", metric("quiz", 0.1, step=5), metric("quiz", 0.2, step=9), metric("chat", 0.5, step=3))
    lab.run("two", metric("quiz", 0.3, step=7), metric("chat", 0.6))
    found = {one.name: one.values.tolist() for one in columns(lab.workspace)}
    assert found == {"chat": [0.6], "quiz.accuracy": [0.2]}
    frame = results.load(lab.workspace)
    assert {name: frame[name].tolist() for name in found} == found


def test_a_workspace_without_figures_has_no_columns(tmp_path) -> None:
    lab = Lab.at(tmp_path)
    lab.plan({"x": {"seed": 0}}, {"x": {"a": "one"}})
    assert columns(lab.workspace) == []


def test_factors_are_columns_with_levels_and_those_that_never_vary_by_scale_are_none(workspace) -> None:
    group = Group.of(source(workspace), "toy")
    assert group.factors == ["model", "method", "seed", "note"]
    assert pd.Series(group.experiments["status"].to_pylist()).value_counts().to_dict() == {
        "done": 10,
        "failed": 1,
        "pending": 1,
    }
