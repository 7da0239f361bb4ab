"""Garbage: what nothing needs is found with its size; what is needed, or written to, is never listed."""

import os

from orchestrator.gc import Garbage, find_garbage, remove
from orchestrator.verify import verify
from results.journal import Index
from results.layout import Workspace
from tests.orchestrator.lab import Lab, dead, stage_id
from workers.attempts import HeartbeatObserver
from workers.processes import ProcessIdentity


def garbage(lab: Lab) -> list[Garbage]:
    return find_garbage(lab.view())


def forget_plans(lab: Lab) -> None:
    for path in lab.workspace.plans.iterdir():
        path.unlink()


def test_a_workspace_that_is_in_order_holds_no_garbage(lab: Lab) -> None:
    lab.finish("base", "train-sft-0")
    lab.fail("train-dpo-0")
    lab.checkpoint(lab.claim("train-dpo-1"), 10)
    assert garbage(lab) == []


def test_an_empty_workspace_holds_no_garbage(tmp_path) -> None:
    from orchestrator.view import View

    assert find_garbage(View(Workspace(tmp_path))) == []


def test_a_stage_that_no_plan_needs(lab: Lab) -> None:
    lab.finish("base", "of another grid")
    (found,) = garbage(lab)
    assert found.path == lab.workspace.stage(stage_id("of another grid"))
    assert (found.reason, found.stage) == ("no plan needs this stage", stage_id("of another grid"))


def test_the_size_is_that_of_all_files_below(lab: Lab) -> None:
    attempt = lab.finish("of another grid")
    before = garbage(lab)[0].size
    (attempt.directory / "output" / "deep").mkdir()
    (attempt.directory / "output" / "deep" / "model.bin").write_bytes(b"\0" * 12345)
    assert garbage(lab)[0].size == before + 12345


def test_attempts_that_did_not_win_and_checkpoints_of_the_winner_are_spent(lab: Lab) -> None:
    lost = lab.fail("base", ending="preempted")
    lab.checkpoint(lost, 10)
    won = lab.finish("base")
    lab.checkpoint(won, 20)
    assert {(item.path, item.reason) for item in garbage(lab)} == {
        (lost.directory, "another attempt was committed"),
        (won.directory / "checkpoints", "the stage is finished"),
    }


def test_the_checkpoints_of_an_unfinished_stage_are_kept(lab: Lab) -> None:
    lab.checkpoint(lab.fail("base", ending="preempted"), 10)
    assert garbage(lab) == []


def test_a_stage_of_a_dead_worker_in_no_plan_is_garbage(lab: Lab) -> None:
    lab.worker("late", dead())
    lab.claim("of another grid")
    assert [item.stage for item in garbage(lab)] == [stage_id("of another grid")]


def test_a_stage_in_no_plan_that_a_live_worker_writes_to_is_not_listed(lab: Lab) -> None:
    lab.claim("base")
    forget_plans(lab)
    assert garbage(lab) == []


def test_a_late_attempt_at_a_finished_stage_that_still_writes_is_not_listed(lab: Lab) -> None:
    lab.worker("slow", ProcessIdentity("another-node", "another-boot", 17, 0.0))
    slow = lab.claim("base")
    slow.beat()
    quick = lab.worker("quick")
    quick.observer = HeartbeatObserver(stale_seconds=0.0)
    assert (
        quick.claim(stage_id("base"), "toy", {}) is None
    )  # the first look; the second finds it standing still
    lab.finish("base")
    assert slow.directory not in {item.path for item in garbage(lab)}
    os.utime(slow.directory / "heartbeat", (0, 0))
    assert slow.directory in {item.path for item in garbage(lab)}


def test_removing_keeps_what_is_needed_and_sound(lab: Lab) -> None:
    lab.fail("base", ending="preempted")
    won = lab.finish("base")
    lab.checkpoint(won, 20)
    lab.finish("of another grid")
    view = lab.view()
    remove(view, find_garbage(view))
    assert lab.done() == {stage_id("base")}
    assert (won.directory / "output" / "value.txt").is_file()
    assert not (won.directory / "checkpoints").exists()
    assert not lab.workspace.stage(stage_id("of another grid")).exists()
    assert verify(lab.workspace).problems == []
    assert garbage(lab) == []


def test_a_removed_stage_can_be_computed_again(lab: Lab) -> None:
    lab.finish("base")
    forget_plans(lab)
    view = lab.view()
    remove(view, find_garbage(view))
    index = Index(lab.workspace)
    index.refresh()
    assert index.done == {}
    lab.finish("base")
    assert lab.done() == {stage_id("base")}


def test_removing_nothing_writes_nothing(lab: Lab) -> None:
    lab.finish("base")
    before = lab.tree()
    remove(lab.view(), [])
    assert lab.tree() == before
