"""The main job as a user runs it: 394 experiments on this machine, and what must hold of them.

    python -m pytest tests/benchmarks/test_main_job.py -m benchmark -s

YATES_FINISHED names the workspace of a run that is already done, to look at it without running it again.
"""

import os
import time
from pathlib import Path

import pandas as pd
import pytest

import results
from tests.support.commands import GRID, experiments, yates
from tests.support.signals import signals

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(5400)]
MINUTES = 20.0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the whole grid ran, from an empty one."""
    if known := os.environ.get("YATES_FINISHED"):
        return Path(known)
    runs = tmp_path_factory.mktemp("main") / "runs"
    started = time.monotonic()
    done = yates("run", GRID, "-w", runs, timeout=5000)
    assert done.returncode == 0, done.stdout + done.stderr
    minutes = (time.monotonic() - started) / 60
    print(f"\nthe whole grid: {minutes:.1f} minutes")
    assert minutes <= MINUTES
    return runs


def test_every_experiment_has_one_row_and_its_result(finished: Path) -> None:
    frame = results.load(finished)
    assert len(frame) == 394 and frame["experiment"].is_unique
    assert set(frame["status"]) <= {"done", "diverged"}
    print(f"\n{frame['status'].value_counts().to_dict()}")
    assert frame.groupby("variant").size().to_dict() == {
        "merge-dare-ties": 30,
        "merge-slerp": 20,
        "mixture": 20,
        "original": 4,
        "single": 320,
    }


def test_no_training_is_short_and_no_benchmark_small(finished: Path) -> None:
    metrics = results.metrics(finished)
    trained = metrics[metrics["kind"].isin(["sft", "dpo", "pretrain"]) & (metrics["metric"] == "loss")]
    assert trained["step"].min() >= 60
    least = metrics[metrics["primary"] & (metrics["kind"] == "evaluate")].groupby("task")["n"].min()
    print(f"\n{least.to_dict()}")
    assert least["bbh"] >= 64 and least["safety"] >= 64 and least["mmlu"] >= 100


def test_most_of_the_workers_time_is_computing(finished: Path) -> None:
    attempts = results.attempts(finished)
    wall = (attempts["ended"].max() - attempts["started"].min()) * attempts["supervisor"].nunique()
    share = attempts["seconds_compute"].sum() / wall
    print(f"\ncomputing: {share:.0%} of {wall / 60:.0f} worker-minutes")
    by_kind = attempts.assign(wall=attempts["ended"] - attempts["started"]).groupby("kind")
    print(
        by_kind[["wall", "seconds_compute", "seconds_load", "seconds_save", "seconds_other"]].mean().round(2)
    )
    assert share >= 0.6


def test_a_second_run_recomputes_nothing_in_three_seconds(finished: Path) -> None:
    before = len(results.attempts(finished))
    started = time.monotonic()
    assert yates("run", GRID, "-w", finished).returncode == 0
    seconds = time.monotonic() - started
    print(f"\nsecond run: {seconds:.1f} s")
    assert seconds < 3.0
    assert len(results.attempts(finished)) == before


def test_status_answers_in_half_a_second(finished: Path) -> None:
    def seconds() -> float:
        started = time.monotonic()
        assert yates("status", "-w", finished).returncode == 0
        return time.monotonic() - started

    best = min(seconds() for _ in range(5))
    print(f"\nstatus: {best:.2f} s")
    assert best < 0.5


@pytest.mark.parametrize(
    ("metric", "preference"),
    [("preference_accuracy.harmless", "harmless"), ("safety", "harmless")],
)
def test_alignment_moves_what_it_should(finished: Path, metric: str, preference: str) -> None:
    found = signals(finished, metric, preference)
    for signal in found:
        print(
            f"\n{' '.join(signal.cell):55s} {signal.change:+.2f} [{signal.low:+.2f}, {signal.high:+.2f}]",
            end="",
        )
    clear = [signal for signal in found if signal.low > 0]
    print(f"\n{len(clear)} of {len(found)} cells rise clearly")
    aligned = [signal for signal in found if "dpo" in signal.cell or metric.startswith("preference")]
    assert all(signal.low > 0 for signal in aligned)


def test_two_seeds_differ(finished: Path) -> None:
    frame = results.load(finished)
    cells = ["model", "dataset", "preference", "method", "adapter", "variant"]
    spread = frame[frame["variant"] == "single"].groupby(cells)["perplexity"].nunique()
    assert (spread == 5).all()


def test_an_experiment_alone_equals_itself_late_in_a_warm_worker(finished: Path, tmp_path: Path) -> None:
    """The last trainings of the grid came hundredth in their worker; alone they give the same bits."""
    frame = experiments(finished)
    attempts = results.attempts(finished).sort_values("started")
    late = set(attempts[attempts["kind"].isin(["sft", "dpo"])].tail(40)["stage"])
    members = results.experiments(finished)
    for method in ("sft", "dpo"):
        chosen = members[members["stages"].map(lambda stages: any(one in stages for one in late))]
        name = chosen[(chosen["method"] == method) & (chosen["variant"] == "single")].iloc[-1]
        where = " and ".join(
            f"{factor} == {getattr(name[factor], 'item', lambda value=name[factor]: value)()!r}"
            for factor in ("model", "dataset", "preference", "method", "adapter", "variant", "seed")
        )
        runs = tmp_path / method
        assert yates("run", GRID, "-w", runs, "--where", where).returncode == 0
        alone = experiments(runs)
        same = frame[frame["experiment"] == alone["experiment"][0]].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone, same[alone.columns], check_exact=True, check_dtype=False)


def test_one_seed_is_done_in_a_quarter_of_the_time(finished: Path, tmp_path: Path) -> None:
    attempts = results.attempts(finished)
    whole = attempts["ended"].max() - attempts["started"].min()
    started = time.monotonic()
    assert yates("run", GRID, "-w", tmp_path / "runs", "--where", "seed == 0", timeout=2000).returncode == 0
    share = (time.monotonic() - started) / whole
    print(f"\none seed: {share:.0%} of the whole grid's time")
    assert share <= 0.25
