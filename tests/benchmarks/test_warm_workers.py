"""Warm workers against one fresh process per experiment: the same stages, the same supervisor, in turns.

    python -m pytest tests/benchmarks/test_warm_workers.py -m benchmark -s

What a warm worker costs once (process start, imports, its end) is spread over the experiments that one of two
workers runs in the main job; a fresh process pays it for each.
"""

import shutil
import statistics
import time
from pathlib import Path

import pandas as pd
import pytest

import results
from orchestrator.view import Experiment, View
from results.journal import Journal
from results.layout import Workspace
from tests.support.commands import GRID, yates
from tests.support.grids import start_supervisor
from workers.stage import Stage
from workers.submission import Submission, SubmittedBundle, SubmittedStage

SLICE = (
    'variant == "single" and model == "llama-1-7b" and dataset == "beavertails" '
    'and preference == "harmless" and adapter == "lora"'
)
SHARED = ("pretrain", "reference")
SAMPLES = 5
EXPERIMENTS_PER_WORKER = 394 / 2
STAGES_PER_WORKER = 1222 / 2
OWN = ("sft", "dpo", "evaluate")


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_warm_workers_beat_a_process_per_experiment(tmp_path: Path) -> None:
    origin = Workspace(tmp_path / "origin")
    assert yates("run", GRID, "-w", origin.root, "--where", SLICE).returncode == 0
    view = View(origin)
    experiments = list(view.experiments.values())
    warm, fresh = [], []
    for sample in range(SAMPLES):
        root = tmp_path / f"warm{sample}"
        wall = measure(origin, view, [experiments], root)
        once = wall - busy(root)
        warm.append(busy(root) / len(experiments) + once / EXPERIMENTS_PER_WORKER)
        apart = [[one] for one in experiments]
        fresh.append(measure(origin, view, apart, tmp_path / f"fresh{sample}") / len(experiments))
    ratio = statistics.median(fresh) / statistics.median(warm)
    kept = waiting(tmp_path / "warm0", STAGES_PER_WORKER) / waiting(tmp_path / "fresh0", 1)
    saved = 1 - kept
    print(
        f"\nan experiment: warm {statistics.median(warm):.2f} s, fresh {statistics.median(fresh):.2f} s",
        end="",
    )
    print(f": {ratio:.1f} times faster; a warm worker costs {once:.1f} s once")
    print(f"import and load per stage: {saved:.0%} saved")
    assert saved >= 0.9
    assert ratio >= 5.0


def measure(origin: Workspace, view: View, groups: list[list[Experiment]], root: Path) -> float:
    """Seconds to run the experiments' own stages, one supervisor process for each group, one after another."""
    workspace = copy_parents(origin, view, root)
    started = time.perf_counter()
    for group in groups:
        submission = submit(workspace, view, group)
        assert start_supervisor(workspace, submission).wait(1200) == 0
    return time.perf_counter() - started


def copy_parents(origin: Workspace, view: View, root: Path) -> Workspace:
    """A workspace in which the shared parents are committed and nothing else."""
    workspace = Workspace(root)
    shutil.copytree(origin.plans, workspace.plans)
    journal = Journal(workspace, "copied")
    for row in view.plans[0].stages:
        if row.kind in SHARED:
            shutil.copytree(origin.stage(row.stage), workspace.stage(row.stage))
            journal.committed(row.stage, view.index.done[row.stage])
        else:
            Stage.read(origin, row.stage).write(workspace)
    return workspace


def submit(workspace: Workspace, view: View, group: list[Experiment]) -> Submission:
    """A submission of the group's own stages."""
    rows = [one.plan.stages[index] for one in group for index in one.row.stages.values()]
    rows = [row for row in dict.fromkeys(rows) if row.kind in OWN]
    number = {row.stage: index for index, row in enumerate(rows)}
    known = {row.stage: row for row in view.plans[0].stages}
    ids = [row.stage for row in view.plans[0].stages]
    last = Submission.read(
        Workspace(view.workspace.root), next(view.workspace.submissions.glob("*.json")).stem
    )
    executions = {stage.stage: last.executions[stage.execution] for stage in last.stages}
    chosen = [executions[row.stage] for row in rows]
    stages = tuple(
        SubmittedStage(
            row.stage,
            row.kind,
            tuple(number[ids[parent]] for parent in known[row.stage].parents if ids[parent] in number),
            row.shape,
            row.affinity,
            row.cost,
            index,
        )
        for index, row in enumerate(rows)
    )
    bundle = SubmittedBundle("benchmark", rows[0].shape, tuple(range(len(rows))))
    submission = Submission(
        f"b{time.time_ns()}", time.time(), "local", "", "", stages, tuple(chosen), (bundle,)
    )
    submission.write(workspace)
    return submission


def own_attempts(root: Path) -> pd.DataFrame:
    """The attempts at the experiments' own stages."""
    attempts = results.attempts(root)
    return attempts[attempts["kind"].isin(OWN)]


def busy(root: Path) -> float:
    """Seconds from a worker's first stage to its last, imports apart."""
    attempts = own_attempts(root)
    span = attempts["ended"].max() - attempts["started"].min()
    return float(span - attempts["seconds_startup"].sum())


def waiting(root: Path, stages_per_start: float) -> float:
    """Seconds per stage that go into imports (of one start-up for so many stages) and model loading."""
    attempts = own_attempts(root)
    starts = attempts.loc[attempts["seconds_startup"] > 0, "seconds_startup"]
    per_start = max(stages_per_start, len(attempts) / len(starts))
    return float(starts.mean() / per_start + attempts["seconds_load"].mean())
