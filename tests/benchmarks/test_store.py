"""100,000 experiments of 200,000 stages and two million metric rows: how long the store takes, and how much memory.

Run with `pytest -m benchmark -s tests/benchmarks/test_store.py`; YATES_BENCHMARK_EXPERIMENTS makes it
smaller. Each group of steps runs in a fresh process, `python -m tests.benchmarks.test_store WORKSPACE STEPS`, whose
imports are not counted and whose peak memory is.
"""

import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from results.files import json_bytes
from results.frames import load, metrics
from results.journal import Index
from results.layout import Workspace
from results.plans import read_plans, write_plan
from results.records import ExperimentRow, PlanRecord, StageRow
from results.status import Counts, facts_of, survey
from results.store import compact
from tests.results.lab import Lab, attempt, commit, metric
from tests.support.commands import ROOT

COUNT = int(os.environ.get("YATES_BENCHMARK_EXPERIMENTS", "100000"))
NEWER = 1000
FACTORS = 20
TASKS = 10
MEMORY = 2 << 30


def identifier(number, role):
    return hashlib.sha256(f"{role}{number}".encode()).hexdigest()[:32]


def study():
    stages, experiments = [], []
    for i in range(COUNT):
        stages.append(StageRow(identifier(i, "sft"), "sft", (), "gpu", "base", 3.0))
        stages.append(StageRow(identifier(i, "eval"), "evaluate", (2 * i,), "gpu", "base", 1.0))
        levels = (i % 97, *(f"level{k}-{i * (k + 1) % 7}" for k in range(1, FACTORS)))
        roles = {"sft": 2 * i, "evaluate": 2 * i + 1}
        experiments.append(ExperimentRow(identifier(i, "experiment"), f"experiment {i}", levels, roles))
    factors = tuple(f"factor{k}" for k in range(FACTORS))
    return PlanRecord("alignment", "grids/alignment.yaml", "paper", "corrected", factors, experiments, stages)


def figures():
    """The primary metric of each task and one more: twenty rows."""
    rows = [metric(f"task{t}", random.random()) for t in range(TASKS)]
    return rows + [metric(f"task{t}", random.random(), "seconds", primary=False) for t in range(TASKS)]


def finish(workspace, stage, rows):
    """Leave the commit of `stage` behind, and return the line that its journal would hold."""
    token = stage[:12]
    path = workspace.done_file(stage)
    path.parent.mkdir(parents=True)
    path.write_bytes(json_bytes(commit(stage, token, rows)))
    return json_bytes(
        {"event": "ended", "stage": stage, "token": token, "record": attempt(stage, token, "done")}
    )


def measured(what, action):
    """The time that `action` took: the lesser of wall and CPU time, for a machine that others use too."""
    started, started_cpu = time.perf_counter(), time.process_time()
    answer = action()
    seconds, cpu = time.perf_counter() - started, time.process_time() - started_cpu
    print(f"{what:<58} {seconds:8.2f} s {cpu:8.2f} s CPU", file=sys.stderr)
    return min(seconds, cpu), answer


def statuses(workspace: Workspace) -> tuple[str, Any]:
    plans = read_plans(workspace)
    index = Index(workspace)
    index.refresh()
    seconds, found = measured("status of all", lambda: survey(plans, facts_of(index)))
    return seconds, Counts.of(found.experiments.values()).done


def loaded(workspace: Workspace) -> tuple[float, Any]:
    seconds, frame = measured("load, all columns", lambda: load(workspace))
    return seconds, [*frame.shape, int(frame.status.eq("done").sum()), int(frame.task0.notna().sum())]


def grouped(workspace: Workspace) -> tuple[float, Any]:
    frame = load(workspace)
    tasks = [f"task{t}" for t in range(TASKS)]
    seconds, means = measured(
        "means of ten tasks by three factors",
        frame.groupby(["factor1", "factor2", "factor0"])[tasks].mean,
    )
    return seconds, len(means)


def compacted(workspace: Workspace) -> tuple[float, Any]:
    seconds, made = measured("compaction", lambda: compact(workspace))
    return seconds, made.number


def listed(workspace: Workspace) -> tuple[float, Any]:
    seconds, frame = measured("metrics, a row a figure", lambda: metrics(workspace))
    return seconds, len(frame)


STEPS: dict[str, Callable[[Workspace], tuple[Any, Any]]] = {
    "status": statuses,
    "load": loaded,
    "group": grouped,
    "compact": compacted,
    "metrics": listed,
}


def steps(workspace: Workspace, *names: str) -> list[tuple[float, Any]]:
    """Seconds and answer of each step, all in one fresh process, and last its peak memory in bytes."""
    command = [sys.executable, "-m", "tests.benchmarks.test_store", str(workspace.root), *names]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)
    print(f"peak memory of {', '.join(names)}: {found[-1] / 2**20:.0f} MiB", file=sys.stderr)
    assert found[-1] < MEMORY
    return found


@pytest.mark.benchmark
@pytest.mark.timeout(7200)
def test_a_hundred_thousand_experiments(tmp_path):
    workspace = Lab.at(tmp_path).workspace
    print(
        f"\n{COUNT:,} experiments, {2 * COUNT:,} stages, {2 * TASKS * COUNT:,} metric rows", file=sys.stderr
    )
    write_plan(workspace, study())
    lines = []
    for i in range(COUNT):
        lines.append(finish(workspace, identifier(i, "sft"), []))
        lines.append(finish(workspace, identifier(i, "eval"), figures()))
    workspace.journals.mkdir()
    (workspace.journals / "first.jsonl").write_bytes(b"\n".join(lines[:-NEWER]) + b"\n")
    os.sync()  # what this test wrote is not the compaction's to wait for

    (status, done), _ = steps(workspace, "status")
    assert done == COUNT - NEWER // 2
    (whole, number), _ = steps(workspace, "compact")
    (_, _), (after, shape), (group, groups), _ = steps(workspace, "load", "load", "group")
    assert (number, groups > 500) == (1, True)
    assert shape[:2] == [COUNT, 6 + FACTORS + 3 * TASKS] and shape[2] == COUNT - NEWER // 2

    (workspace.journals / "second.jsonl").write_bytes(b"\n".join(lines[-NEWER:]) + b"\n")
    (_, _), (newer, shape), _ = steps(workspace, "load", "load")
    assert shape == [COUNT, 6 + FACTORS + 3 * TASKS, COUNT, COUNT]
    (_, number), (_, rows), _ = steps(workspace, "compact", "metrics")
    assert (number, rows) == (2, 2 * TASKS * COUNT)
    print(f"{NEWER} newer commits: {newer - after:.2f} s more", file=sys.stderr)
    assert status < 1.0
    assert after < 1.0
    assert group < 1.0
    assert newer - after < 1.0
    assert whole < 30.0


if __name__ == "__main__":
    place = Workspace(Path(sys.argv[1]))
    answers = [STEPS[name](place) for name in sys.argv[2:]]
    print(json.dumps([*answers, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
