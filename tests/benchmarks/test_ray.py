"""The alignment grid on Ray against the same on this machine alone, and against Ray Tune without Yates.

python -m pytest tests/benchmarks/test_ray.py -m benchmark -s
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

import results
from orchestrator.view import Experiment, View
from results.layout import Workspace
from tests.benchmarks.test_warm_workers import copy_parents
from tests.support.commands import GRID, ROOT, assert_same_store, yates
from tests.support.ray import RayCluster, RayStudy, ray_cluster

SLICE = (
    'variant == "single" and model == "llama-1-7b" and dataset == "beavertails" and preference == "harmless" '
    "and seed in (0, 1, 2)"
)
SAMPLES = 5


@pytest.mark.benchmark
@pytest.mark.timeout(5400)
def test_the_tiny_grid_on_ray_is_that_of_a_local_run(tmp_path: Path) -> None:
    """The whole of it, Ray's start included; both on all cores of this machine."""
    began = time.time()
    assert yates("run", GRID, "-w", tmp_path / "local", timeout=2400).returncode == 0
    here = last_end(tmp_path / "local") - began
    study = RayStudy(tmp_path / "study")
    began = time.time()
    done = study.yates("submit", GRID, "--on", "ray")
    assert done.returncode == 0, done.stdout + done.stderr
    wait_for(study, 2400)
    there = last_end(study.root) - began
    study.wait_until_quiet(120)
    print(f"\nlocal {here:.0f} s, Ray {there:.0f} s: {there / here:.2f}")
    assert_same_store(tmp_path / "local", study.root)
    assert there / here <= 1.15


@pytest.mark.benchmark
@pytest.mark.timeout(5400)
@pytest.mark.parametrize(("shared", "bar"), [(True, 1.3), (False, 1.0)], ids=["shared", "given"])
def test_against_ray_tune_alone(tmp_path: Path, shared: bool, bar: float) -> None:
    """One trial per experiment in Tune's warm actors; parents computed by each, or given to both sides."""
    origin = Workspace(tmp_path / "origin")
    assert yates("run", GRID, "-w", origin.root, "--where", SLICE).returncode == 0
    ratios = []
    with ray_cluster(nodes=1, cpus=2) as cluster:
        for sample in range(SAMPLES):
            ours = through_yates(cluster, origin, tmp_path / f"ours{sample}", shared)
            theirs = through_tune(cluster, origin, tmp_path / f"theirs{sample}", shared)
            ratios.append(theirs / ours)
            print(f"\nYates {ours:.0f} s, Tune {theirs:.0f} s: {ratios[-1]:.2f}", end="", flush=True)
    print(f"\nmedian {statistics.median(ratios):.2f}")
    assert statistics.median(ratios) >= bar


def through_yates(cluster: RayCluster, origin: Workspace, directory: Path, shared: bool) -> float:
    study = RayStudy(directory, cluster)
    if not shared:
        copy_parents(origin, View(origin), study.root)
    began = time.time()
    done = study.yates("submit", GRID, "--on", "ray", "--address", cluster.address, "--where", SLICE)
    assert done.returncode == 0, done.stdout + done.stderr
    wait_for(study, 900)
    took = last_end(study.root) - began
    study.wait_until_quiet()
    return took


def through_tune(cluster: RayCluster, origin: Workspace, directory: Path, shared: bool) -> float:
    """Seconds of the whole program, as `through_yates` counts them."""
    view = View(origin)
    workspace = Workspace(directory)
    if shared:
        for row in view.plans[0].stages:
            (workspace.stage(row.stage)).mkdir(parents=True)
            workspace.stage_file(row.stage).write_bytes(origin.stage_file(row.stage).read_bytes())
    else:
        workspace = copy_parents(origin, view, directory)
    given = set() if shared else {path.parent.name for path in workspace.stages.glob("*/*/done.json")}
    chains = [
        [one for one in chain(view, experiment) if one not in given]
        for experiment in view.experiments.values()
    ]
    gcs = f"127.0.0.1:{cluster.port}"
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.plain_tune", directory, json.dumps(chains), gcs],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT), **THREADS},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return time.time() - began


THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


def chain(view: View, experiment: Experiment) -> list[str]:
    """All stages of an experiment and those they stand on, parents first."""
    rows = experiment.plan.stages
    wanted: set[int] = set()
    pending = list(experiment.row.stages.values())
    while pending:
        number = pending.pop()
        if number not in wanted:
            wanted.add(number)
            pending.extend(rows[number].parents)
    return [rows[number].stage for number in sorted(wanted)]


def wait_for(study: RayStudy, seconds: float) -> None:
    """Wait until nothing is left to do, looking seldom: a look takes time from the cores that are measured."""
    deadline, view = time.monotonic() + seconds, View(study.workspace)
    while view.counts().pending + view.counts().running:
        assert time.monotonic() < deadline, study.status()
        time.sleep(2.0)
        view.refresh()


def last_end(root: Path) -> float:
    """When the last attempt ended."""
    return float(results.attempts(root)["ended"].max())
