"""From a workspace to the picture: bars, bundles with pace and time left, failures, and what is held."""

import hashlib
import time
from typing import Any

import pytest

from orchestrator.view import View
from orchestrator.watch.bundles import Bundles
from orchestrator.watch.pace import WINDOW_SECONDS, Pace
from orchestrator.watch.picture import Bar, Failure, Looker
from results.files import json_bytes, write_atomic
from results.layout import Workspace
from results.plans import write_plan
from results.records import ExperimentRow, PlanRecord, StageRow
from tests.orchestrator.lab import Lab, dead, stage_id
from tests.results.lab import attempt as ended_attempt


class Clock:
    """The observer's clock, moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def lab(tmp_path) -> Lab:
    return Lab(Workspace(tmp_path))


def looker(view: View, clock: Clock | None = None) -> Looker:
    return Looker(view, list(view.experiments), "runs", clock or Clock())


def beat(attempt: Any, step: int) -> None:
    attempt.record["step"] = step
    attempt.beat()


def recipe(lab: Lab, name: str, content: dict[str, Any]) -> None:
    write_atomic(lab.workspace.stage_file(stage_id(name)), json_bytes({"recipe": content}))


def test_bars_count_stages_by_kind_and_state(lab: Lab) -> None:
    lab.finish("base", "train-sft-0")
    lab.fail("train-dpo-0")
    lab.claim("train-sft-1")
    found = looker(lab.view()).look()
    assert list(found.bars) == [
        Bar("dpo", 2, {"failed": 1, "pending": 1}),
        Bar("evaluate", 4, {"blocked": 1, "pending": 3}),
        Bar("pretrain", 1, {"done": 1}),
        Bar("sft", 2, {"done": 1, "running": 1}),
    ]
    assert found.experiments == {"failed": 1, "pending": 2, "running": 1}
    assert not found.over


def test_failures_by_class_and_what_is_held(lab: Lab) -> None:
    lab.finish("base", "train-sft-0", "train-sft-1", "train-dpo-0")
    lab.fail("eval-sft-0", "eval-sft-1", "eval-dpo-0", message="no column")
    found = looker(lab.view()).look()
    assert list(found.failures) == [Failure("evaluate", "bug", 3, "no column")]
    (held,) = found.held
    assert (held.kind, held.stages) == ("evaluate", 1)
    assert "3 stages failed alike" in held.reason


def test_a_bundle_has_its_step_its_pace_and_its_time(lab: Lab) -> None:
    recipe(lab, "train-sft-0", {"training": {"steps": 700}})
    clock, running = Clock(), lab.claim("train-sft-0")
    bundles = Bundles(lab.view(), clock)
    beat(running, 100)
    (first,) = bundles.look()
    assert (first.kind, first.step, first.steps, first.rate) == ("sft", 100, 700, None)
    assert first.seconds_left == pytest.approx(30 * 600 / 700)  # by the plan, before the pace is known
    clock.now += 10
    beat(running, 125)
    (second,) = bundles.look()
    assert second.rate == pytest.approx(2.5)
    assert second.seconds_left == pytest.approx(575 / 2.5)


def test_what_stands_still_says_so_and_comes_first(lab: Lab) -> None:
    clock, stands, moves = Clock(), lab.claim("train-sft-0"), lab.claim("train-dpo-0")
    bundles = Bundles(lab.view(), clock)
    for seconds in (0, WINDOW_SECONDS):
        clock.now += seconds
        beat(stands, 5)
        beat(moves, int(seconds))
        found = bundles.look()
    assert [(one.kind, one.rate) for one in found] == [("sft", 0.0), ("dpo", pytest.approx(1.0))]
    assert found[0].seconds_left is None


def test_the_stages_of_a_bundle_that_are_not_done_count_for_its_time(lab: Lab) -> None:
    """Thirty seconds of its own, ten for each evaluation that is left."""
    stages = [
        {"stage": stage_id(name), "cost": cost}
        for name, cost in (("train-sft-0", 30.0), ("eval-sft-0", 10.0))
    ]
    write_atomic(
        lab.workspace.submissions / "first.json",
        json_bytes({"stages": stages, "bundles": [{"stages": [0, 1]}]}),
    )
    record = {"name": "worker-1", "backend": "local", "submission": "first", "bundle": 0, "node": "gpu-9"}
    lab.claim("train-sft-0")
    path = lab.workspace.supervisors / "worker-1.json"
    own = lab.worker("worker-1").identity.as_record()
    write_atomic(path, json_bytes({**own, **record}))
    (found,) = Bundles(lab.view(), Clock()).look()
    assert (found.node, found.left, found.seconds_left) == ("gpu-9", 2, 40.0)


def test_a_dead_worker_runs_nothing(lab: Lab) -> None:
    lab.worker("worker-2", dead())
    lab.claim("train-sft-0")
    assert Bundles(lab.view(), Clock()).look() == []


@pytest.mark.parametrize("content", [b"", b"[3", b"{}", b"[1]", b'["a", "b"]'])
def test_a_damaged_heartbeat_costs_its_step_only(lab: Lab, content: bytes) -> None:
    running = lab.claim("train-sft-0")
    (running.directory / "heartbeat").write_bytes(content)
    (found,) = Bundles(lab.view(), Clock()).look()
    assert found.step is None


def test_the_pace_looks_back_over_its_window_only() -> None:
    pace = Pace()
    for second in range(0, 1000, 10):
        pace.note("a", 0 if second < 500 else second - 500, float(second))
    assert pace.rate("a") == pytest.approx(1.0, rel=0.1)
    pace.forget_others(set())
    assert pace.rate("a") is None


def test_the_time_left_goes_by_expected_cost(lab: Lab) -> None:
    view, clock = lab.view(), Clock()
    eye = looker(view, clock)
    assert eye.look().left is None
    lab.finish("base")
    view.refresh()
    clock.now += 30
    assert eye.look().left == pytest.approx(30 * 160 / 60)


COUNT = 40_000


def large(workspace: Workspace) -> None:
    """40,000 experiments of 80,000 stages: half are done, 400 run, 1,000 failed."""
    stages, experiments, lines = [], [], []
    for i in range(COUNT):
        sft, evaluate = (hashlib.md5(f"{role}{i}".encode()).hexdigest() for role in ("sft", "evaluate"))
        stages += [
            StageRow(sft, "sft", (), "gpu", "", 3.0),
            StageRow(evaluate, "evaluate", (2 * i,), "gpu", "", 1.0),
        ]
        experiments.append(
            ExperimentRow(f"{i:012x}", f"run {i}", (i,), {"sft": 2 * i, "evaluate": 2 * i + 1})
        )
        done = [sft, evaluate] if i < COUNT // 2 else []
        lines += [{"event": "committed", "stage": stage, "token": "t", "outcome": "done"} for stage in done]
        if COUNT // 2 <= i < COUNT // 2 + 400:
            lines.append({"event": "claimed", "stage": sft, "token": "t", "time": 1.0})
        elif i >= COUNT - 1000:
            record = ended_attempt(sft, "t", "bug", kind="sft")
            lines.append(
                {"event": "ended", "stage": sft, "token": "t", "record": {**record, "message": f"row {i}"}}
            )
    write_plan(
        workspace, PlanRecord("s", "g.yaml", "paper", "p", ("x",), experiments, stages, {"gpu": {"gpus": 1}})
    )
    workspace.journals.mkdir(parents=True)
    (workspace.journals / "worker-1.jsonl").write_bytes(b"".join(json_bytes(line) + b"\n" for line in lines))


@pytest.mark.benchmark
def test_a_look_at_forty_thousand_experiments_takes_less_than_a_second(lab: Lab, tmp_path) -> None:
    workspace = Workspace(tmp_path / "large")
    large(workspace)
    (tmp_path / "supervisors").rename(workspace.supervisors)
    view = View(workspace)
    eye = looker(view)
    started = time.process_time()
    view.refresh()
    refreshed = time.process_time() - started
    found = eye.look()
    looked = time.process_time() - started - refreshed
    print(f"\nrefresh {refreshed:.2f} s, look {looked:.2f} s CPU")
    assert refreshed + looked < 1.0
    assert found.running == 400 and len(found.bundles) == 400
    assert found.experiments["done"] == COUNT // 2
    assert sum(one.stages for one in found.failures) == 1000


def test_looking_changes_nothing_in_the_workspace(lab: Lab) -> None:
    lab.finish("base")
    lab.claim("train-sft-0")
    before = lab.tree()
    looker(lab.view()).look()
    assert lab.tree() == before
