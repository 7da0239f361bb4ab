"""From commits on disk to rows: in any number, each once, and the damaged ones cost only themselves."""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from results.commits import (
    Fresh,
    attempts_table,
    committed_stages,
    ended_attempts,
    read_commits,
    read_outputs,
)
from results.files import json_bytes, write_atomic
from results.schema import ATTEMPTS, COMMITS, CURVES, METRICS, SAMPLES
from tests.results.lab import Lab, attempt, commit, metric


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.at(tmp_path)


def stage_ids(count: int) -> list[str]:
    return [f"{number % 7:02x}{number:030x}" for number in range(count)]


def write(lab: Lab, content: dict[str, Any], **changes: Any) -> None:
    path = lab.workspace.done_file(content["stage"])
    write_atomic(path, json_bytes({**content, **changes}))


def test_many_commits_are_read_in_order_with_all_their_rows(lab: Lab) -> None:
    stages = stage_ids(150)
    for number, stage in enumerate(stages):
        lab.publish(
            stage, "t", [metric("mmlu", float(number)), metric("mmlu", 2.0, "seconds", primary=False)]
        )
    fresh = read_commits(lab.workspace, reversed(stages), {})
    assert fresh.commits["stage"].to_pylist() == sorted(stages)
    values = fresh.metrics.filter(fresh.metrics["primary"])
    found = dict(zip(values["stage"].to_pylist(), values["value"].to_pylist(), strict=True))
    assert found == {stage: float(number) for number, stage in enumerate(stages)}
    assert (len(fresh.metrics), len(fresh.attempts)) == (300, 150)
    assert (fresh.missing, fresh.damaged, fresh.revisit) == (set(), {}, set())


def test_what_is_known_is_left_out_and_what_was_won_anew_is_not(lab: Lab) -> None:
    for stage in ("aa1", "aa2", "aa3"):
        lab.publish(stage, "second", [metric("mmlu", 0.1)])
    fresh = read_commits(lab.workspace, ["aa1", "aa2", "aa3"], {"aa1": "second", "aa2": "first"})
    assert fresh.commits["stage"].to_pylist() == ["aa2", "aa3"]
    assert set(fresh.metrics["stage"].to_pylist()) == {"aa2", "aa3"}


def test_a_stage_without_a_commit_is_missing_and_not_damaged(lab: Lab) -> None:
    lab.workspace.stage("aa1").mkdir(parents=True)
    (lab.workspace.stages / "bb").mkdir()
    (lab.workspace.stages / "bb" / "bb1").touch()
    fresh = read_commits(lab.workspace, ["aa1", "aa2", "bb1"], {"aa1": "t"})
    assert fresh.missing == {"aa1", "aa2", "bb1"}
    assert fresh.damaged == {}


def test_nothing_asked_gives_empty_tables_of_the_right_columns(lab: Lab) -> None:
    fresh = read_commits(lab.workspace, [], {})
    assert (fresh.commits.schema, fresh.metrics.schema, fresh.attempts.schema) == (COMMITS, METRICS, ATTEMPTS)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"attempt": None}, "names no attempt"),
        ({"outcome": "perhaps"}, "names no attempt or no known outcome"),
        ({"metrics": [{"value": "high"}]}, "Arrow|high"),
        ({"metrics": "none"}, "Error"),
        ({"kind": 7}, "Arrow|Error"),
        ({"finished": "yesterday"}, "Arrow|yesterday"),
    ],
)
def test_one_bad_commit_among_many_is_named_and_to_be_looked_at_again(
    lab: Lab, changes: dict[str, Any], reason: str
) -> None:
    stages = stage_ids(20)
    for stage in stages:
        lab.publish(stage, "t", [metric("mmlu", 0.1)])
    write(lab, commit(stages[7], "t", []), **changes)
    fresh = read_commits(lab.workspace, stages, {})
    good = sorted(set(stages) - {stages[7]})
    assert fresh.commits["stage"].to_pylist() == sorted(fresh.metrics["stage"].to_pylist()) == good
    assert sorted(fresh.attempts["stage"].to_pylist()) == good
    assert fresh.revisit == {stages[7]}
    (damage,) = fresh.damaged.items()
    assert damage[0] == str(lab.workspace.done_file(stages[7]))
    assert any(part in damage[1] for part in reason.split("|"))


@pytest.mark.parametrize(
    "record", [None, {}, "none", {"stage": "aa1"}, {**attempt("aa1", "t", "done"), "step": "far"}]
)
def test_a_commit_counts_though_its_record_of_the_attempt_does_not(lab: Lab, record: object) -> None:
    write(lab, commit("aa1", "t", [metric("mmlu", 0.1)]), record=record)
    fresh = read_commits(lab.workspace, ["aa1"], {})
    assert (len(fresh.commits), len(fresh.metrics), len(fresh.attempts)) == (1, 1, 0)
    assert fresh.damaged == {}


def test_a_metric_may_lack_what_was_not_known_then_and_carry_what_is_not_known_now(lab: Lab) -> None:
    row = {"task": "mmlu", "metric": "accuracy", "value": 1, "of_the_future": True}
    write(lab, commit("aa1", "t", []), metrics=[row])
    (found,) = read_commits(lab.workspace, ["aa1"], {}).metrics.to_pylist()
    assert (found["value"], found["step"], found["stderr"], found["kind"]) == (1.0, None, None, "evaluate")


def test_attempts_are_flat_and_their_dictionaries_sorted_json() -> None:
    record = attempt("aa1", "t", "hung")
    record["fingerprint"], record["seconds"] = {"b": 1, "a": 2}, {"compute": 3.0, "unheard": 9.0}
    (row,) = attempts_table([record]).to_pylist()
    assert row["fingerprint"] == json.dumps({"a": 2, "b": 1})
    assert (row["seconds_compute"], row["seconds_load"]) == (3.0, None)
    assert set(row) == set(ATTEMPTS.names)


def test_a_record_that_does_not_fit_costs_no_other() -> None:
    records: list[Any] = [attempt("aa1", "t1", "bug"), {"stage": "aa2"}, {}, attempt("aa3", "t3", "lost")]
    assert attempts_table(records)["stage"].to_pylist() == ["aa1", "aa3"]
    assert attempts_table([]).schema == ATTEMPTS


def test_committed_stages_are_found_by_looking(lab: Lab) -> None:
    assert list(committed_stages(lab.workspace)) == []
    stages = stage_ids(12)
    for stage in stages:
        lab.workspace.stage(stage).mkdir(parents=True)
    for stage in stages[::2]:
        lab.publish(stage, "t", [])
    (lab.workspace.stages / ".hidden" / "aa1").mkdir(parents=True)
    (lab.workspace.stages / ".hidden" / "aa1" / "done.json").touch()
    (lab.workspace.stages / "stray.txt").touch()
    assert sorted(committed_stages(lab.workspace)) == sorted(stages[::2])


def test_only_attempts_that_ended_are_gathered(lab: Lab) -> None:
    for token, ending in (("t1", "bug"), ("t2", None), ("t3", "lost")):
        path = lab.workspace.attempt("aa1", token) / "attempt.json"
        write_atomic(path, json_bytes(attempt("aa1", token, ending)))
    for token, content in (("t4", b"{"), ("t5", b"[]"), ("t6", b"\xff")):
        write_atomic(lab.workspace.attempt("aa1", token) / "attempt.json", content)
    assert sorted(record["token"] for record in ended_attempts(lab.workspace)) == ["t1", "t3"]


def test_outputs_carry_the_stage_whatever_the_worker_wrote_there(lab: Lab) -> None:
    for stage in ("aa1", "aa2"):
        lab.publish(stage, "t", [])
        lab.outputs(stage, "t", steps=3)
    lab.publish("aa3", "t", [])
    fresh = read_commits(lab.workspace, ["aa1", "aa2", "aa3"], {})
    (curves,) = read_outputs(lab.workspace, "curves", fresh.commits, fresh)
    (samples,) = read_outputs(lab.workspace, "samples", fresh.commits, fresh)
    assert curves["stage"].to_pylist() == ["aa1"] * 3 + ["aa2"] * 3
    assert samples["stage"].to_pylist() == ["aa1", "aa2"]
    assert (curves.schema, samples.schema) == (CURVES, SAMPLES)


def test_outputs_of_an_attempt_that_lost_are_not_read(lab: Lab) -> None:
    lab.publish("aa1", "winner", [])
    lab.outputs("aa1", "loser")
    fresh = read_commits(lab.workspace, ["aa1"], {})
    assert list(read_outputs(lab.workspace, "curves", fresh.commits, fresh)) == []


def test_an_unreadable_output_is_named_and_costs_its_own_rows(lab: Lab) -> None:
    for stage in ("aa1", "aa2"):
        lab.publish(stage, "t", [])
        lab.outputs(stage, "t")
    damaged = lab.workspace.output("aa1", "t") / "curves.parquet"
    damaged.write_bytes(b"PAR1 not at all PAR1")
    fresh = read_commits(lab.workspace, ["aa1", "aa2"], {})
    (curves,) = read_outputs(lab.workspace, "curves", fresh.commits, fresh)
    assert set(curves["stage"].to_pylist()) == {"aa2"}
    assert list(fresh.damaged) == [str(damaged)]
    assert fresh.revisit == {"aa1"}


def test_curves_may_hold_what_is_not_finite(lab: Lab) -> None:
    lab.publish("aa1", "t", [])
    lab.outputs("aa1", "t", steps=1)
    path = lab.workspace.output("aa1", "t") / "curves.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(3, "value", [[math.inf]]), path)
    fresh = read_commits(lab.workspace, ["aa1"], {})
    (curves,) = read_outputs(lab.workspace, "curves", fresh.commits, fresh)
    assert curves["value"].to_pylist() == [math.inf]


def test_two_answers_share_nothing() -> None:
    one, two = Fresh(), Fresh()
    one.missing.add("a")
    one.damaged["a"] = "b"
    assert (two.missing, two.damaged) == (set(), {})
