"""100,000 experiments of 200,000 stages and two million metric rows: how long the store takes.

Run with `pytest -m benchmark -s tests/benchmarks/test_store.py`; YATES_BENCHMARK_EXPERIMENTS makes it
smaller.
"""

import hashlib
import os
import random
import time

import pytest

from results.files import json_bytes
from results.frames import load, metrics
from results.journal import Index
from results.plans import read_plans, write_plan
from results.records import ExperimentRow, PlanRecord, StageRow
from results.status import Counts, facts_of, survey
from results.store import compact
from tests.results.lab import Lab, attempt, commit, metric

COUNT = int(os.environ.get("YATES_BENCHMARK_EXPERIMENTS", "100000"))
NEWER = 1000
FACTORS = 20
TASKS = 10


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
    print(f"{what:<58} {seconds:8.2f} s {cpu:8.2f} s CPU")
    return min(seconds, cpu), answer


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_experiments(tmp_path):
    workspace = Lab.at(tmp_path).workspace
    print(f"\n{COUNT:,} experiments, {2 * COUNT:,} stages, {2 * TASKS * COUNT:,} metric rows")
    measured("write the plan", lambda: write_plan(workspace, study()))
    lines = []
    for i in range(COUNT):
        lines.append(finish(workspace, identifier(i, "sft"), []))
        lines.append(finish(workspace, identifier(i, "eval"), figures()))
    workspace.journals.mkdir()
    (workspace.journals / "first.jsonl").write_bytes(b"\n".join(lines[:-NEWER]) + b"\n")

    _, plans = measured("read the plan", lambda: read_plans(workspace))
    index = Index(workspace)
    measured("fold the journals from their start", index.refresh)
    status, found = measured("status of all", lambda: survey(plans, facts_of(index)))
    assert Counts.of(found.experiments.values()).done == COUNT - NEWER // 2
    os.sync()  # what this test wrote is not the compaction's to wait for
    whole, _ = measured("first compaction", lambda: compact(workspace))
    measured("load, first call", lambda: load(workspace))
    after, frame = measured("load", lambda: load(workspace))
    assert frame.shape == (COUNT, 6 + FACTORS + 3 * TASKS)

    (workspace.journals / "second.jsonl").write_bytes(b"\n".join(lines[-NEWER:]) + b"\n")
    measured(f"load with {NEWER} newer commits, first call", lambda: load(workspace))
    newer, frame = measured(f"load with {NEWER} newer commits", lambda: load(workspace))
    assert frame.status.eq("done").all() and frame.task0.notna().all()
    measured(f"compaction of {NEWER} newer commits", lambda: compact(workspace))
    _, frame = measured("metrics", lambda: metrics(workspace))
    assert len(frame) == 2 * TASKS * COUNT
    assert status < 1.0
    assert after < 1.0
    assert newer - after < 1.0
    assert whole < 30.0
