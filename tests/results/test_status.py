import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.journal import Index
from results.records import ExperimentRow, PlanRecord, StageRow
from results.status import FAILURES, Counts, Facts, facts_of, members, survey
from tests.results.lab import Lab, plan

PIPELINE = {"a": {"dpo": "dpo", "eval": "eval"}}
PARENTS = {"eval": ["dpo"], "dpo": ["sft"]}
TINY = plan({"a": {}}, PIPELINE, PARENTS)


def status(**facts):
    return survey([TINY], Facts(**{name: set(stages.split()) for name, stages in facts.items()})).experiments[
        "a"
    ]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "pending"),
        ({"done": "sft"}, "pending"),
        ({"done": "dpo eval"}, "done"),
        ({"done": "sft dpo eval", "open": "eval"}, "done"),
        ({"done": "sft dpo", "open": "eval"}, "running"),
        ({"open": "sft"}, "pending"),
        ({"done": "sft dpo", "diverged": "dpo"}, "diverged"),
        ({"done": "sft dpo eval", "diverged": "dpo"}, "diverged"),
        ({"done": "sft", "diverged": "sft"}, "blocked"),
        ({"failed": "sft"}, "blocked"),
        ({"failed": "sft", "open": "sft"}, "pending"),
        ({"failed": "dpo"}, "failed"),
        ({"failed": "dpo", "open": "dpo"}, "running"),
        ({"failed": "dpo", "done": "dpo eval"}, "done"),
        ({"held": "dpo"}, "held"),
        ({"held": "sft"}, "held"),
        ({"failed": "sft", "held": "dpo"}, "blocked"),
    ],
)
def test_status_of_an_experiment(facts, expected):
    assert status(**facts) == expected


def test_states_of_stages_follow_the_graph():
    states = survey([TINY], Facts(failed={"sft"})).stages
    assert states == {"sft": "failed", "dpo": "blocked", "eval": "blocked"}


def test_the_newest_plan_decides_and_an_experiment_counts_once():
    newer = plan({"a": {}}, {"a": {"eval": "other"}})
    found = survey([TINY, newer], Facts(done={"other"}))
    assert found.experiments == {"a": "done"}
    assert Counts.of(found.experiments.values()) == Counts(done=1)
    assert members([TINY, newer]) == {"a": ("other",)}


@given(st.lists(st.sampled_from(["done", "running", "failed", "diverged", "blocked", "held", "pending"])))
def test_counts_add_up(statuses):
    counts = Counts.of(statuses)
    assert counts.total == len(statuses)
    assert counts.unfinished == sum(item in ("running", "failed", "held", "pending") for item in statuses)


@pytest.mark.parametrize("ending", ["lost", "preempted", "cancelled", "superseded"])
def test_an_interrupted_stage_is_pending_again(tmp_path, ending):
    lab = Lab.at(tmp_path)
    lab.fail("dpo", ending)
    assert survey([TINY], facts_of(_index(lab))).stages["dpo"] == "pending"


@pytest.mark.parametrize("ending", sorted(FAILURES))
def test_the_last_ending_decides(tmp_path, ending):
    lab = Lab.at(tmp_path)
    lab.fail("dpo", "lost", number=1)
    lab.fail("dpo", ending, number=2)
    assert survey([TINY], facts_of(_index(lab))).stages["dpo"] == "failed"
    lab.fail("dpo", "preempted", number=3)
    assert survey([TINY], facts_of(_index(lab))).stages["dpo"] == "pending"


def test_a_retry_policy_may_decide_otherwise(tmp_path):
    lab = Lab.at(tmp_path)
    lab.fail("dpo", "transient")
    assert facts_of(_index(lab), lambda stage: False).failed == set()
    assert facts_of(_index(lab), {"eval"}).failed == {"eval"}


def test_a_hundred_thousand_experiments_take_well_under_a_second():
    count = 100_000
    stages = [
        stage
        for i in range(count)
        for stage in (
            StageRow(f"t{i}", "sft", (), "gpu", "", 1.0),
            StageRow(f"e{i}", "evaluate", (2 * i,), "gpu", "", 1.0),
        )
    ]
    rows = [ExperimentRow(f"x{i}", "", (), {"sft": 2 * i, "eval": 2 * i + 1}) for i in range(count)]
    record = PlanRecord("s", "g", "tiny", "p", (), rows, stages)
    facts = Facts(done={f"t{i}" for i in range(0, count, 2)}, failed={f"t{i}" for i in range(1, count, 4)})
    started = time.process_time()
    found = survey([record], facts)
    assert time.process_time() - started < 1.0
    assert Counts.of(found.experiments.values()) == Counts(failed=25_000, pending=75_000)


def _index(lab):
    index = Index(lab.workspace)
    index.refresh()
    return index
