"""A report on 100,000 experiments with two million figures: seconds, megabytes, and memory at its peak.

Run with `pytest -m benchmark -s tests/benchmarks/test_report.py`; YATES_BENCHMARK_EXPERIMENTS makes it smaller.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from results.catalog import catalog
from results.generation import building, point_latest, publish, table_facts
from results.layout import Workspace
from results.plans import plan_marks, write_plan
from results.records import ExperimentRow, PlanRecord, StageRow
from results.schema import TABLES, VERSION
from results.wide import runs

COUNT = int(os.environ.get("YATES_BENCHMARK_EXPERIMENTS", "100000"))
FACTORS = {"model": 4, "method": 3, "data": 5, "rank": 4, "rate": 4}
TASKS = 10
LOGGED = 20
NAMES = ("loss", "reward")
FINGERPRINT = json.dumps({"gpu": "NVIDIA H100 80GB HBM3", "torch": "2.13.0"})


def identifier(*parts: Any) -> str:
    return hashlib.md5(repr(parts).encode()).hexdigest()


def study(count: int) -> PlanRecord:
    """Each experiment trains and evaluates; seeds are what the other factors leave."""
    stages, experiments = [], []
    for i in range(count):
        rest, levels = i, []
        for name, size in FACTORS.items():
            rest, level = divmod(rest, size)
            levels.append(f"{name}-{level}")
        stages.append(StageRow(identifier("sft", i), "sft", (), "gpu1", "", 3.0))
        stages.append(StageRow(identifier("evaluate", i), "evaluate", (2 * i,), "gpu1", "", 1.0))
        roles = {"sft": 2 * i, "evaluate": 2 * i + 1}
        experiments.append(
            ExperimentRow(identifier("run", i)[:12], "/".join([*levels, f"s{rest}"]), (*levels, rest), roles)
        )
    factors = (*FACTORS, "seed")
    return PlanRecord(
        "sweep", "sweep.yaml", "paper", "corrected", factors, experiments, stages, {"gpu1": {"gpus": 1}}
    )


def table(name: str, count: int, columns: Mapping[str, Any]) -> pa.Table:
    """A table of the store with these columns, the others null."""
    schema = TABLES[name]
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(count, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def tables(plan: PlanRecord) -> dict[str, pa.Table]:
    random = np.random.default_rng(0)
    stages = np.array([row.stage for row in plan.stages], object)
    training, evaluations = stages[::2], stages[1::2]
    kinds = np.array([row.kind for row in plan.stages], object)
    rows, figures, points = len(stages), 2 * TASKS * len(evaluations), LOGGED * len(NAMES) * len(training)
    started = 1.7e9 + np.arange(rows) * 10.0
    shared = {"stage": stages, "kind": kinds}
    done = np.full(rows, "done", object)
    return {
        "commits": table(
            "commits", rows, {**shared, "attempt": stages, "outcome": done, "finished": started}
        ),
        "metrics": table(
            "metrics",
            figures,
            {
                "stage": np.repeat(evaluations, 2 * TASKS),
                "kind": np.full(figures, "evaluate", object),
                "task": np.tile(
                    np.repeat([f"task{t}" for t in range(TASKS)], 2).astype(object), len(evaluations)
                ),
                "metric": np.tile(np.array(["accuracy", "length"] * TASKS, object), len(evaluations)),
                "value": random.random(figures),
                "stderr": random.random(figures) / 10,
                "n": np.full(figures, 500),
                "primary": np.tile([True, False] * TASKS, len(evaluations)),
            },
        ),
        "curves": table(
            "curves",
            points,
            {
                "stage": np.repeat(training, LOGGED * len(NAMES)),
                "step": np.tile(np.repeat(np.arange(LOGGED) * 10, len(NAMES)), len(training)),
                "name": np.tile(np.array(NAMES, object), LOGGED * len(training)),
                "value": random.random(points),
            },
        ),
        "samples": table(
            "samples",
            2 * len(evaluations),
            {
                "stage": np.repeat(evaluations, 2),
                "task": np.full(2 * len(evaluations), "task0", object),
                "item": np.tile([0, 1], len(evaluations)),
                "prompt": np.full(2 * len(evaluations), "What follows from this?", object),
                "completion": np.array(
                    [f"It follows that {i} is one." for i in range(2 * len(evaluations))], object
                ),
            },
        ),
        "attempts": table(
            "attempts",
            rows,
            {
                **shared,
                "token": stages,
                "number": np.ones(rows, int),
                "host": np.array([f"node{i % 64}" for i in range(rows)], object),
                "started": started,
                "ended": started + 100 * random.random(rows),
                "ending": done,
                "step": np.full(rows, 700),
                "fingerprint": np.full(rows, FINGERPRINT, object),
                "seconds_compute": np.full(rows, 50.0),
            },
        ),
    }


def finished(root: Path, count: int) -> Workspace:
    """A workspace whose store holds `count` finished experiments."""
    workspace = Workspace(root)
    plan = study(count)
    write_plan(workspace, plan)
    known = catalog([plan], {row.experiment: "done" for row in plan.experiments})
    found = {
        **tables(plan),
        "experiments": known.experiments,
        "members": known.members,
        "parents": known.parents,
    }
    found["runs"] = runs(known.experiments, known.members, found["metrics"])
    facts = {}
    with building(workspace) as directory:
        for name, content in found.items():
            pq.write_table(content, directory / f"{name}.parquet", compression="zstd", compression_level=1)
            facts[name] = table_facts(directory / f"{name}.parquet", content.num_rows)
        publish(
            workspace,
            directory,
            {
                "number": 1,
                "schema": VERSION,
                "plans": plan_marks(workspace),
                "offsets": {},
                "open": {},
                "endings": {},
                "revisit": [],
                "damaged": {},
                "stages": len(plan.stages),
                "tables": facts,
            },
        )
    point_latest(workspace)
    return workspace


def reported(workspace: Workspace, output: Path) -> tuple[float, float, int]:
    """Make the report as a user does; wall seconds, CPU seconds, and the peak of resident memory in bytes."""
    code = "import sys; from orchestrator.cli import main; sys.argv[0] = 'yates'; main()"
    command = [sys.executable, "-c", code, "report", str(workspace.root), "-o", str(output)]
    began = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
def test_a_report_on_a_hundred_thousand_experiments(tmp_path: Path) -> None:
    workspace, output = finished(tmp_path / "runs", COUNT), tmp_path / "report.html"
    wall, cpu, memory = reported(workspace, output)
    size = output.stat().st_size
    print(
        f"\n{COUNT:,} experiments, {2 * TASKS * COUNT:,} figures: {wall:.1f} s ({cpu:.1f} s CPU), "
        f"{size / 1e6:.1f} MB, peak memory {memory / 1e9:.2f} GB"
    )
    assert min(wall, cpu) < 60
    assert size < 20e6
    assert memory < 2e9
