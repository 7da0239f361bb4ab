"""What the experiments cost, what failed, and what sharing and resuming saved."""

import pytest

from results.report.cost import Cost, cost_of, uses
from tests.results.lab import Lab, attempt
from tests.results.report.lab import source, stored


@pytest.fixture(scope="module")
def cost(tmp_path_factory) -> Cost:
    """Of 22 stages that ran ten seconds each on two GPUs, and one that failed."""
    return cost_of(source(stored(tmp_path_factory.mktemp("cost") / "runs")))


def test_hours_and_gpu_hours(cost: Cost) -> None:
    assert cost.hours == pytest.approx(23 * 10 / 3600)
    assert cost.gpu_hours == pytest.approx(2 * cost.hours)
    assert cost.lost_hours == pytest.approx(10 / 3600)
    assert (cost.first, cost.last) == (10.0, 20.0)


def test_failures_by_class_with_an_example(cost: Cost) -> None:
    (found,) = cost.failures
    assert (found["kind"], found["ending"], found["attempts"], found["example"]) == ("sft", "bug", 1, "plain")


def test_kinds_split_their_time(cost: Cost) -> None:
    kinds = {row["kind"]: row for row in cost.kinds}
    assert kinds["evaluate"]["stages"] == 22
    assert kinds["evaluate"]["compute"] == pytest.approx(22 * 6 / 3600)
    assert kinds["sft"]["attempts"] == 1


def test_a_parent_of_six_experiments_saved_its_time_five_times(cost: Cost) -> None:
    """Two bases of six experiments each; all else belongs to one."""
    assert cost.shared_stages == 2
    assert cost.shared_hours == pytest.approx(2 * 5 * 10 / 3600)
    assert cost.shared_gpu_hours == pytest.approx(2 * cost.shared_hours)


def test_uses_count_own_stages_and_ancestors_once_an_experiment(tmp_path) -> None:
    lab = Lab.at(tmp_path)
    pipelines = {"x": {"a": "left", "b": "right", "c": "top"}, "y": {"a": "left"}}
    parents = {"top": ["left", "right"], "left": ["base"], "right": ["base"]}
    lab.plan({"x": {"seed": 0}, "y": {"seed": 1}}, pipelines, parents)
    read = source(lab.workspace)
    assert uses(read.members, read.parents) == {"left": 2, "right": 1, "top": 1, "base": 2}


def test_what_resuming_saved_goes_by_the_pace_of_the_attempt_that_resumed(tmp_path) -> None:
    """From step 60 to 100 in 6 seconds of compute: the sixty steps before would have taken nine."""
    lab = Lab.at(tmp_path)
    lab.plan({"x": {"seed": 0}}, {"x": {"a": "one"}})
    lab.journal.ended({**attempt("one", "t1", "preempted"), "step": 70})
    lab.journal.ended({**attempt("one", "t2", "timeout", number=2), "step": 100, "resumed_from": 60})
    lab.journal.ended({**attempt("one", "t3", "timeout", number=3), "step": 60, "resumed_from": 60})
    found = cost_of(source(lab.workspace))
    assert found.resumed_attempts == 1
    assert found.resumed_hours == pytest.approx(9 / 3600)
    assert {row["ending"]: row["attempts"] for row in found.failures} == {"preempted": 1, "timeout": 2}


def test_nothing_run_costs_nothing(tmp_path) -> None:
    lab = Lab.at(tmp_path)
    lab.plan({"x": {"seed": 0}}, {"x": {"a": "one"}})
    assert cost_of(source(lab.workspace)) == Cost()


def test_devices_with_their_versions_and_damaged_fingerprints_left_out(tmp_path) -> None:
    lab = Lab.at(tmp_path)
    lab.plan({"x": {"seed": 0}}, {"x": {"a": "one"}})
    for number, fingerprint in enumerate(
        ({"gpu": "H100", "torch": "2"}, {"gpu": "", "processor": "EPYC"}, {}), 1
    ):
        lab.journal.ended({**attempt("one", f"t{number}", "lost", number=number), "fingerprint": fingerprint})
    found = cost_of(source(lab.workspace)).devices
    assert {(one["device"], str(one["versions"])) for one in found} == {
        ("H100", "{'torch': '2'}"),
        ("EPYC", "{}"),
    }
