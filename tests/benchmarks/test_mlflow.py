"""The store against MLflow's local stores and a directory of JSON files: the same runs, the same questions.

Run with `YATES_MLFLOW_PYTHON=.../bin/python pytest -m benchmark -s tests/benchmarks/test_mlflow.py`, an interpreter of
an environment of its own with mlflow, sqlalchemy and pandas; YATES_BENCHMARK_RUNS makes it smaller. A run is written
as a worker commits it (claim, commit, end; synced to disk, which MLflow's files are not), one after another, and the
compaction counts as writing. Processor seconds are compared, for machines that others use too; wall time is printed.
"""

import json
import os
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest

import results
from results.files import json_bytes
from results.layout import Workspace
from results.store import compact
from tests.results.lab import Lab, metric

PYTHON = os.environ.get("YATES_MLFLOW_PYTHON")
RUNS = int(os.environ.get("YATES_BENCHMARK_RUNS", "10000"))
METRICS = 20
FACTORS = 4
SCRIPT = Path(__file__).with_name("plain_mlflow.py")
WRITE, QUERY = 10, 50
"""How many times faster the store must write and answer than MLflow."""
QUERIES = ("table", "group", "filter")


def timed(action):
    wall, cpu = time.perf_counter(), time.process_time()
    answer = action()
    return [time.perf_counter() - wall, time.process_time() - cpu], answer


def value(run, task):
    return (run * 31 + task) % 997 / 997


def levels(run):
    return {f"factor{k}": f"level{run // 5**k % 5}" for k in range(FACTORS)}


def write_store(root):
    lab = Lab.at(root)
    names = [f"{run:05x}" for run in range(RUNS)]
    lab.plan(
        {name: levels(run) for run, name in enumerate(names)},
        {name: {"eval": f"{name[-2:]}{name}"} for name in names},
    )
    for run, name in enumerate(names):
        lab.run(f"{name[-2:]}{name}", *(metric(f"task{t}", value(run, t)) for t in range(METRICS)))
    compact(lab.workspace)


def write_files(root):
    root.mkdir()
    for run in range(RUNS):
        content = {"run": run, **levels(run), **{f"task{t}": value(run, t) for t in range(METRICS)}}
        (root / f"{run}.json").write_bytes(json_bytes(content))


def read_files(root):
    return pd.DataFrame([json.loads(path.read_bytes()) for path in root.iterdir()])


def group(frame):
    return frame.groupby(["factor0", "factor1"])[["task0", "task1"]].mean()


def best(frame):
    return frame[(frame["factor0"] == "level1") & (frame["task0"] > 0.9)]


def asked(table):
    """Seconds of each query on what `table` loads, each loading anew, and how many rows each answers with."""
    found, rows = {}, []
    for name, question in zip(QUERIES, (len, group, best), strict=True):
        found[name], answer = timed(lambda question=question: question(table()))
        rows.append(answer if isinstance(answer, int) else len(answer))
    return found, rows


def mlflow(uri):
    environment = {
        **os.environ,
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    command = [PYTHON, str(SCRIPT), uri, str(RUNS), str(METRICS)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def said(name, found):
    cells = "  ".join(
        f"{what} {found[what][0]:8.2f} s {found[what][1]:8.2f} s CPU" for what in ("write", *QUERIES)
    )
    print(f"{name:<24} {cells}")


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    root = tmp_path_factory.mktemp("store") / "runs"
    written, _ = timed(lambda: write_store(root))
    results.load(root)  # the first call imports
    found, rows = asked(lambda: results.load(Workspace(root)))
    print(f"\n{RUNS:,} runs of {METRICS} metrics")
    said("Yates", {"write": written, **found})
    return {"write": written, **found}, rows


@pytest.mark.benchmark
@pytest.mark.timeout(7200)
@pytest.mark.skipif(not PYTHON, reason="YATES_MLFLOW_PYTHON names no interpreter that has mlflow")
@pytest.mark.parametrize("store", ["files", "sqlite"])
def test_against_mlflow(ours, tmp_path, store):
    uri = f"sqlite:///{tmp_path}/mlflow.db" if store == "sqlite" else (tmp_path / "mlruns").as_uri()
    (mine, rows), theirs = ours, mlflow(uri)
    said(f"MLflow {theirs['version']}, {store}", theirs)
    assert theirs["rows"] == rows
    ratios = {what: theirs[what][1] / mine[what][1] for what in ("write", *QUERIES)}
    print("times faster: " + ", ".join(f"{what} {ratio:.0f}" for what, ratio in ratios.items()))
    assert ratios["write"] >= WRITE
    assert ratios["table"] >= QUERY and ratios["group"] >= QUERY


@pytest.mark.benchmark
@pytest.mark.timeout(7200)
def test_against_a_directory_of_json_files(ours, tmp_path):
    (mine, rows) = ours
    written, _ = timed(lambda: write_files(tmp_path / "files"))
    found, answered = asked(lambda: read_files(tmp_path / "files"))
    said("JSON files", {"write": written, **found})
    assert answered == rows
    assert found["table"][1] > mine["table"][1]
