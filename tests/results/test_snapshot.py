"""A snapshot: the newest generation and what was committed since, read once and only where it changed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.compute as pc
import pytest

import results
from results import frames, snapshot
from results.generation import newest
from results.snapshot import Snapshot, manifest_paths, take, take_from_truth
from results.store import compact
from tests.results.lab import Lab, attempt, metric

TABLES = ("commits", "metrics", "attempts", "curves", "samples")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Four experiments on one shared base; the base and the first evaluation are in the store."""
    lab = Lab.at(tmp_path / "runs")
    names = [f"e{number}" for number in range(4)]
    lab.plan(
        {name: {"seed": number} for number, name in enumerate(names)},
        {name: {"sft": "base", "eval": f"s-{name}"} for name in names},
        {f"s-{name}": ["base"] for name in names},
    )
    for stage in ("base", "s-e0"):
        lab.outputs(stage, lab.run(stage, metric("mmlu", 0.1)))
    compact(lab.workspace)
    return lab


def rows(found: Snapshot, name: str) -> list[dict[str, Any]]:
    return sorted(found.table(name).to_pylist(), key=lambda row: json.dumps(row, sort_keys=True))


def statuses(found: Snapshot) -> dict[str, str]:
    table = found.catalog.experiments
    return dict(zip(table["experiment"].to_pylist(), table["status"].to_pylist(), strict=True))


def endings(lab: Lab) -> dict[str, tuple[int, str]]:
    return {stage: (number, how) for stage, (number, how) in take(lab.workspace).endings.items()}


def assert_as_in_truth(lab: Lab) -> None:
    quick, slow = take(lab.workspace), take_from_truth(lab.workspace)
    for name in TABLES:
        assert rows(quick, name) == rows(slow, name), name
    assert statuses(quick) == statuses(slow)
    assert quick.runs().to_pylist() == slow.runs().to_pylist()


def test_nothing_new_is_known_without_reading_a_commit(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[set[str]] = []
    read = snapshot.read_commits

    def watched(workspace: Any, stages: Any, known: Any) -> Any:
        asked.append(set(stages))
        return read(workspace, stages, known)

    monkeypatch.setattr(snapshot, "read_commits", watched)
    found = take(lab.workspace)
    assert not found.news
    assert all(found.unchanged(name) for name in TABLES)
    assert asked == [set()]


def test_only_commits_that_journals_name_or_claims_hold_are_read(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.claim("s-e2")
    compact(lab.workspace)
    lab.run("s-e1", metric("mmlu", 0.2))
    asked: list[set[str]] = []
    read = snapshot.read_commits
    monkeypatch.setattr(snapshot, "read_commits", lambda w, s, k: (asked.append(set(s)), read(w, s, k))[1])
    assert take(lab.workspace).news
    assert asked == [{"s-e1", "s-e2"}]


def test_what_is_fresh_joins_what_is_stored(lab: Lab) -> None:
    lab.outputs("s-e1", lab.run("s-e1", metric("mmlu", 0.2)))
    found = take(lab.workspace)
    assert found.fresh.commits["stage"].to_pylist() == ["s-e1"]
    assert found.changed_stages == {"s-e1"}
    assert sorted(found.commits["stage"].to_pylist()) == ["base", "s-e0", "s-e1"]
    assert statuses(found) == {"e0": "done", "e1": "done", "e2": "pending", "e3": "pending"}
    assert_as_in_truth(lab)


def test_a_commit_that_only_its_file_shows_is_found_by_the_open_claim(lab: Lab) -> None:
    token = lab.claim("s-e1")
    lab.publish("s-e1", token, [metric("mmlu", 0.2)])
    assert "s-e1" in take(lab.workspace).commits["stage"].to_pylist()
    assert statuses(take(lab.workspace))["e1"] == "done"


def test_a_commit_that_was_taken_back_is_gone_and_so_are_its_rows(lab: Lab) -> None:
    lab.workspace.done_file("s-e0").unlink()
    lab.journal.forgotten("s-e0")
    found = take(lab.workspace)
    assert found.gone == {"s-e0"}
    for name in ("commits", "metrics", "curves", "samples"):
        assert set(found.table(name)["stage"].to_pylist()) == {"base"}, name
    assert statuses(found)["e0"] == "pending"


def test_a_commit_won_anew_replaces_every_row_of_the_one_before(lab: Lab) -> None:
    lab.workspace.done_file("s-e0").unlink()
    lab.journal.forgotten("s-e0")
    lab.outputs("s-e0", lab.run("s-e0", metric("mmlu", 0.9)), steps=5)
    found = take(lab.workspace)
    table = found.table("metrics")
    assert table.filter(pc.equal(table["stage"], "s-e0"))["value"].to_pylist() == [0.9]
    assert found.table("curves")["stage"].to_pylist().count("s-e0") == 5
    assert {row["seed"]: row["mmlu"] for row in found.runs().to_pylist()}[0] == 0.9


def test_failures_are_remembered_across_generations_until_the_stage_commits(lab: Lab) -> None:
    lab.fail("s-e1", "bug")
    compact(lab.workspace)
    assert statuses(take(lab.workspace))["e1"] == "failed"
    lab.fail("s-e1", "preempted", number=2)
    assert statuses(take(lab.workspace))["e1"] == "pending"
    compact(lab.workspace)
    assert endings(lab) == {"s-e1": (2, "preempted")}
    lab.run("s-e1", metric("mmlu", 0.2))
    assert endings(lab) == {}
    compact(lab.workspace)
    assert sorted(take(lab.workspace).table("attempts")["ending"].to_pylist()) == [
        "bug",
        "done",
        "done",
        "done",
        "preempted",
    ]


def test_an_older_ending_that_is_read_later_does_not_count(lab: Lab) -> None:
    lab.fail("s-e1", "bug", number=2)
    compact(lab.workspace)
    slow = Lab(lab.workspace, "another-writer")
    slow.journal.ended(attempt("s-e1", "early", "lost", number=1))
    assert endings(lab) == {"s-e1": (2, "bug")}


def test_a_shared_parent_that_diverges_blocks_all_that_stand_on_it(tmp_path: Path) -> None:
    lab = Lab.at(tmp_path)
    pipelines = {"a": {"eval": "s-a"}, "b": {"eval": "s-b"}, "c": {"eval": "s-c"}}
    lab.plan({name: {} for name in pipelines}, pipelines, {"s-a": ["base"], "s-b": ["base"]})
    compact(lab.workspace)
    lab.run("base", outcome="diverged")
    assert statuses(take(lab.workspace)) == {"a": "blocked", "b": "blocked", "c": "pending"}
    assert_as_in_truth(lab)


def test_held_stages_are_told_by_the_caller(lab: Lab) -> None:
    found = take_from_truth(lab.workspace, held={"s-e2"})
    assert statuses(found) == {"e0": "done", "e1": "pending", "e2": "held", "e3": "pending"}


def test_a_new_plan_is_news_and_its_experiments_find_what_is_done(lab: Lab) -> None:
    lab.plan({"late": {"seed": 9}}, {"late": {"sft": "base"}}, study="another")
    found = take(lab.workspace)
    assert found.news and found.new_plans
    assert not found.changed_stages
    assert statuses(found)["late"] == "done"
    assert_as_in_truth(lab)


def test_the_wide_table_is_computed_again_only_for_what_changed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.run("s-e2", metric("mmlu", 0.7))
    computed: list[list[str]] = []
    wide = snapshot.runs

    def watched(experiments: Any, members: Any, metrics: Any) -> Any:
        computed.append(experiments["experiment"].to_pylist())
        return wide(experiments, members, metrics)

    monkeypatch.setattr(snapshot, "runs", watched)
    found = take(lab.workspace).runs().to_pylist()
    assert computed == [["e2"]]
    assert [row["mmlu"] for row in found] == [0.1, 0.1, 0.7, 0.1]


def test_a_table_can_be_cut_to_the_columns_that_are_wanted(lab: Lab) -> None:
    lab.run("s-e1", metric("mmlu", 0.2))
    whole = take(lab.workspace).table("metrics")
    cut = take(lab.workspace).table("metrics", ["stage", "value"])
    assert cut.column_names == ["stage", "value"]
    assert cut.to_pylist() == whole.select(["stage", "value"]).to_pylist()


def test_damage_is_told_by_paths_in_the_workspace(lab: Lab) -> None:
    lab.run("s-e1", metric("mmlu", 0.2))
    lab.workspace.done_file("s-e1").write_bytes(b"{")
    (lab.workspace.plans / "bad.json").write_bytes(b"{")
    found = take(lab.workspace)
    statuses(found)
    assert set(manifest_paths(found)) == {"stages/s-/s-e1/done.json", "plans/bad.json"}
    assert found.fresh.revisit == {"s-e1"}


def test_journals_are_not_needed_to_find_the_truth(lab: Lab) -> None:
    lab.run("s-e1", metric("mmlu", 0.2))
    expected = {name: rows(take(lab.workspace), name) for name in ("commits", "metrics", "curves")}
    shutil.rmtree(lab.workspace.journals)
    found = take_from_truth(lab.workspace)
    assert {name: rows(found, name) for name in expected} == expected


def test_looking_changes_nothing(lab: Lab) -> None:
    lab.run("s-e1", metric("mmlu", 0.2))
    lab.fail("s-e2")

    def everything() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in lab.workspace.root.rglob("*") if path.is_file()}

    before = everything()
    results.load(lab.workspace)
    take_from_truth(lab.workspace).runs()
    assert everything() == before


def test_a_generation_that_is_swept_while_it_is_read_is_asked_anew(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three compactions by others happen between the look at the newest generation and the reading of it."""
    look, calls = frames.take, []

    def overtaken(workspace: Any) -> Snapshot:
        found = look(workspace)
        calls.append(found.base and found.base.number)
        if len(calls) == 1:
            for number in (1, 2, 3):
                lab.run(f"s-e{number}", metric("mmlu", number / 10))
                compact(lab.workspace)
        return found

    monkeypatch.setattr(frames, "take", overtaken)
    frame = results.metrics(lab.workspace)
    assert calls == [1, 4]
    assert sorted(frame[frame["role"] == "eval"]["value"]) == [0.1, 0.1, 0.2, 0.3]


def test_a_generation_that_always_vanishes_is_done_without(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def vanished(workspace: Any) -> Snapshot:
        raise FileNotFoundError("swept away")

    expected = results.load(lab.workspace)
    monkeypatch.setattr(frames, "take", vanished)
    pd.testing.assert_frame_equal(results.load(lab.workspace), expected)


@pytest.mark.parametrize("place", [str, Path, lambda root: results.Workspace(Path(root))])
def test_a_workspace_may_be_named_in_any_way(lab: Lab, place: Any) -> None:
    for table in (
        results.load,
        results.experiments,
        results.metrics,
        results.curves,
        results.samples,
        results.attempts,
    ):
        assert len(table(place(str(lab.workspace.root)))) > 0


def test_the_newest_generation_is_what_a_snapshot_stands_on(lab: Lab) -> None:
    base = newest(lab.workspace)
    found = take(lab.workspace)
    assert base is not None and found.base == base
    assert found.number == base.number + 1
