"""Following a run: when it is over, when it is started again, and what the terminal shows meanwhile."""

import io

import pytest
from rich.console import Console

from orchestrator import progress
from orchestrator.progress import PLAIN_SECONDS, RESTARTS, Display, Driver, follow
from results.files import publish_once
from tests.orchestrator.lab import FakeBackend, Lab, dead, experiment_id, stage_id

RUNS = ("sft-0", "sft-1", "dpo-0", "dpo-1")
EVERYTHING = ["base", *(f"{part}-{one}" for one in RUNS for part in ("train", "eval"))]
IDS = [experiment_id(name) for name in ("sft/s0", "sft/s1", "dpo/s0", "dpo/s1")]


@pytest.fixture
def backend(monkeypatch) -> FakeBackend:
    """What the driver starts and stops."""
    fake = FakeBackend()
    monkeypatch.setattr(progress, "find_backend", lambda name: fake)
    return fake


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time, in a list of one."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def polls(driver: Driver, most: int = 50) -> int:
    """How often the driver was asked until the run was over."""
    for count in range(1, most + 1):
        if driver.finished():
            return count
    raise AssertionError("the run was never over")


def test_a_finished_run_whose_workers_left_is_over_at_once(lab: Lab, backend: FakeBackend) -> None:
    lab.finish(*EVERYTHING)
    lab.leave()
    assert Driver(lab.view(), IDS).finished()
    assert backend.started == []


def test_workers_that_still_tidy_up_are_waited_for_but_not_forever(lab: Lab, backend: FakeBackend) -> None:
    lab.finish(*EVERYTHING)
    assert polls(Driver(lab.view(), IDS)) == 10


def test_a_run_with_live_workers_is_not_over(lab: Lab, backend: FakeBackend) -> None:
    driver = Driver(lab.view(), IDS)
    assert not any(driver.finished() for _ in range(30))
    assert backend.started == []


def test_only_the_experiments_of_the_run_count(lab: Lab, backend: FakeBackend) -> None:
    lab.finish("base", "train-sft-0", "eval-sft-0")
    lab.leave()
    assert Driver(lab.view(), [experiment_id("sft/s0")]).finished()


def test_when_all_workers_died_the_rest_is_started_again_after_a_moment(
    lab: Lab, backend: FakeBackend
) -> None:
    lab.finish("base", "train-sft-0")
    lab.worker("worker-1", dead())
    driver = Driver(lab.view(), [experiment_id("sft/s0")])
    assert [driver.finished() for _ in range(3)] == [False] * 3
    assert backend.started == []
    assert not driver.finished()
    (submission,) = backend.started
    assert [stage.stage for stage in submission.stages] == [stage_id("eval-sft-0")]


def test_without_progress_the_driver_gives_up(lab: Lab, backend: FakeBackend) -> None:
    lab.leave()
    assert polls(Driver(lab.view(), IDS)) == 4 * (RESTARTS + 1)
    assert len(backend.started) == RESTARTS


def test_progress_gives_new_tries(lab: Lab, backend: FakeBackend) -> None:
    view = lab.view()
    lab.leave()
    driver = Driver(view, IDS)
    for name in EVERYTHING:
        for _ in range(4 * (RESTARTS - 1)):
            assert not driver.finished()
        lab.worker("worker-1", dead())
        lab.finish(name)
        view.refresh()
    assert driver.finished()
    assert len(backend.started) == (RESTARTS - 1) * len(EVERYTHING)


def test_what_was_cancelled_is_not_started_again(lab: Lab, backend: FakeBackend) -> None:
    for name in EVERYTHING:
        publish_once(lab.workspace.tombstone(stage_id(name)), b"")
    lab.leave()
    assert polls(Driver(lab.view(), IDS)) == 4
    assert backend.started == []


def test_a_restart_leaves_what_was_cancelled_cancelled(lab: Lab, backend: FakeBackend) -> None:
    for name in ("train-sft-0", "eval-sft-0"):
        publish_once(lab.workspace.tombstone(stage_id(name)), b"")
    lab.leave()
    driver = Driver(lab.view(), IDS)
    for _ in range(4):
        driver.finished()
    assert len(backend.started) == 1
    assert lab.workspace.tombstone(stage_id("train-sft-0")).exists()


def test_a_failed_run_is_over(lab: Lab, backend: FakeBackend) -> None:
    lab.fail("base")
    lab.leave()
    assert Driver(lab.view(), IDS).finished()


def test_following_a_finished_run_ends_and_was_not_interrupted(lab: Lab, backend: FakeBackend) -> None:
    lab.finish(*EVERYTHING)
    lab.leave()
    assert follow(lab.view(), IDS, until_idle=True) is False


@pytest.mark.parametrize(("drives", "stopped"), [(True, 1), (False, 0)])
def test_an_interrupt_stops_the_workers_only_when_the_driver_started_them(
    lab: Lab, backend: FakeBackend, monkeypatch, drives: bool, stopped: int
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(progress.time, "sleep", interrupt)
    assert follow(lab.view(), IDS, until_idle=drives) is drives
    assert backend.stopped == stopped


def test_the_line_of_a_run_that_starts(lab: Lab, clock: list[float]) -> None:
    assert Display(lab.view(), IDS).line() == "4 experiments: 4 pending · 0/9 stages · 0 s gone"


def test_the_line_counts_experiments_by_status_and_stages(lab: Lab, clock: list[float]) -> None:
    lab.finish("base", "train-sft-0", "eval-sft-0")
    lab.finish("train-dpo-0", outcome="diverged")
    lab.claim("train-dpo-1")
    display = Display(lab.view(), IDS)
    clock[0] += 120
    assert display.line() == (
        "4 experiments: 1 diverged, 1 done, 1 pending, 1 running · 4/9 stages · 2 min gone"
    )


def test_the_time_left_goes_by_expected_cost(lab: Lab, clock: list[float]) -> None:
    """220 seconds of work; 60 of them took 30, so 160 take 80."""
    view = lab.view()
    display = Display(view, IDS)
    lab.finish("base")
    view.refresh()
    clock[0] += 30
    assert display.line().endswith("1/9 stages · 30 s gone, about 80 s left")


def test_what_was_done_before_does_not_make_the_run_look_fast(lab: Lab, clock: list[float]) -> None:
    lab.finish("base", "train-sft-0")
    view = lab.view()
    display = Display(view, IDS)
    clock[0] += 60
    assert display.line().endswith("60 s gone")
    lab.finish("train-sft-1")
    view.refresh()
    assert display.line().endswith("60 s gone, about 3 min left")


def test_nothing_is_left_of_a_finished_run(lab: Lab, clock: list[float]) -> None:
    view = lab.view()
    display = Display(view, IDS)
    lab.finish(*EVERYTHING)
    view.refresh()
    clock[0] += 60
    assert display.line() == "4 experiments: 4 done · 9/9 stages · 60 s gone"


def shown(display: Display) -> list[str]:
    """What the live picture says, its bars left out."""
    stream = io.StringIO()
    Console(file=stream, width=160, color_system=None).print(display.render())
    lines = stream.getvalue().splitlines()
    return [" ".join(word for word in line.split() if set(word) - set("━╸╺")) for line in lines]


def test_the_picture_has_a_row_for_each_kind(lab: Lab, clock: list[float]) -> None:
    lab.finish("base", "train-sft-0")
    lab.fail("train-dpo-0")
    lab.claim("train-sft-1")
    assert shown(Display(lab.view(), IDS)) == [
        "4 experiments: 1 failed, 2 pending, 1 running · 2/9 stages · 0 s gone",
        "dpo 0/2 1 failed, 1 pending",
        "evaluate 0/4 1 blocked, 3 pending",
        "pretrain 1/1",
        "sft 1/2 1 running",
    ]


def test_the_picture_tells_what_is_held_and_why(lab: Lab, clock: list[float]) -> None:
    lab.finish("base", "train-sft-0", "train-sft-1", "train-dpo-0")
    lab.fail("eval-sft-0", "eval-sft-1", "eval-dpo-0", message="no column")
    assert shown(Display(lab.view(), IDS))[-1] == (
        "evaluate is held: 3 stages failed alike (evaluate: bug: no column); mend it, then `yates resume --release`"
    )


def test_the_picture_of_one_experiment_has_its_stages_alone(lab: Lab, clock: list[float]) -> None:
    assert shown(Display(lab.view(), [experiment_id("dpo/s1")]))[1:] == [
        "dpo 0/1 1 pending",
        "evaluate 0/1 1 pending",
        "pretrain 0/1 1 pending",
    ]


def test_without_a_terminal_there_is_one_line_every_quarter_of_a_minute(lab: Lab, clock: list[float]) -> None:
    stream = io.StringIO()
    console, display = Console(file=stream, width=40), Display(lab.view(), IDS)
    for _ in range(int(4 * PLAIN_SECONDS)):
        display.print_plain(console)
        clock[0] += 0.5
    assert len(stream.getvalue().splitlines()) == 2
