"""Yates on Slurm against sbatch alone and against plain submitit, on the same lab with the same work.

python -m pytest tests/benchmarks/test_slurm.py -m benchmark -s
"""

import json
import os
import shlex
import statistics
import sys
import time
from pathlib import Path

import pytest
import submitit

import results
from cluster.lab.lab import Lab
from cluster.slurm.records import read_records
from orchestrator.view import View
from results.layout import Workspace
from tests.benchmarks.test_warm_workers import OWN, copy_parents
from tests.support.commands import GRID, yates
from tests.support.counting import ROOT
from tests.support.lab import lab, running_lab
from tests.support.slurm import Study
from workers.attempts import read_commit
from workers.context import Parent, StageContext
from workers.recipe import Execution
from workers.stage import Stage

SLICE = 'variant == "single" and adapter == "lora" and model in ("llama-1-7b", "mistral-7b")'
ELEMENTS = 100
AT_ONCE = 2
"""Jobs at once, for both sides: the lab's nodes share two real cores."""


@pytest.mark.benchmark
def test_the_whole_of_alignment_is_submitted_in_seconds(lab: Lab, tmp_path: Path) -> None:
    """Under five seconds, in the best of three tries: another process may have the machine for a moment."""
    took = []
    for sample in range(3):
        study = Study(lab, tmp_path / f"study{sample}")
        _, profile = study.write()
        started = time.monotonic()
        done = study.yates("submit", GRID, "--on", "slurm", "--profile", profile)
        took.append(time.monotonic() - started)
        assert done.returncode == 0, done.stdout + done.stderr
        lab.call("scancel", "--user", os.environ.get("USER") or "root")
    print(f"\nsubmitted in {', '.join(f'{seconds:.1f}' for seconds in took)} s")
    assert min(took) < 5


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
def test_idle_overhead_against_sbatch_with_as_many_starts_of_python(lab: Lab, tmp_path: Path) -> None:
    """An array of trivial stages, a bundle for each, against an array whose elements start the same programs."""
    ours, theirs = [], []
    for sample in range(3):
        study = Study(lab, tmp_path / f"study{sample}", sizes=1, seeds=ELEMENTS, steps=1, pause=0.0)
        study.cpus = 100  # as far as the planner knows, so that every stage gets an element of its own
        study.submit()
        study.wait_until_done(400)
        study.wait_until_quiet()
        (array,) = [record for record in read_records(study.workspace) if not record.is_tail]
        ours.append(last_end(lab, str(array.job)) - array.created)
        starts = len(array.bundles)
        theirs.append(bare_array(lab, tmp_path / f"bare{sample}", starts))
    mine, bare = statistics.median(ours), statistics.median(theirs)
    ratio = mine / bare
    print(f"\n{starts} elements: Yates {mine:.1f} s, bare {bare:.1f} s: {ratio:.2f}")
    assert ratio <= 1.2


def last_end(lab: Lab, job: str) -> float:
    """When the last element of an array ended, by Slurm's accounting."""
    time.sleep(5)  # it lags
    rows = lab.call("sacct", "-n", "-X", "-P", "-o", "End", "-j", job).split()
    return max(time.mktime(time.strptime(row, "%Y-%m-%dT%H:%M:%S")) for row in rows)


def bare_array(lab: Lab, directory: Path, elements: int) -> float:
    """Seconds of an array whose elements start a supervisor's Python and a child's, and do nothing."""
    directory.mkdir()
    python = f"{shlex.quote(sys.executable)} -c"
    starts = directory / "starts.sh"
    starts.write_text(f"{python} 'import cluster.slurm.job'\n{python} 'import workers.child'\n")
    script = directory / "array.sh"
    script.write_text(f"#!/bin/sh -e\nexport PYTHONPATH={ROOT}\nsrun sh -e {starts}\n")
    started = time.time()
    said = lab.call(
        "sbatch",
        "--parsable",
        "--wait",
        f"--array=0-{elements - 1}",
        "--mem=512M",
        "-o",
        "/dev/null",
        str(script),
        timeout=900,
    )
    return last_end(lab, said.strip()) - started


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_against_plain_submitit_with_one_experiment_a_job(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = Workspace(tmp_path / "origin")
    assert yates("run", GRID, "-w", origin.root, "--where", SLICE, timeout=1200).returncode == 0
    view = View(origin)
    plain = through_submitit(lab, copy_parents(origin, view, tmp_path / "plain"), view, monkeypatch)
    study = Study(lab, tmp_path / "study", profile={"jobs_at_once": AT_ONCE, "linger_seconds": 30})
    copy_parents(origin, view, study.root)
    _, profile = study.write()
    done = study.yates("submit", GRID, "--on", "slurm", "--profile", profile, "--where", SLICE)
    assert done.returncode == 0, done.stdout + done.stderr
    study.wait(lambda: study.status()["done"] == len(view.experiments), 900, "the slice")
    attempts = results.attempts(study.root)
    ours = attempts[attempts["kind"].isin(OWN)]["ended"].max() - min(
        record.created for record in read_records(study.workspace)
    )
    print(
        f"\n{len(view.experiments)} experiments: submitit {plain:.0f} s, Yates {ours:.0f} s: {plain / ours:.1f} times"
    )
    assert plain / ours >= 4.0


def through_submitit(lab: Lab, workspace: Workspace, view: View, monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds from the submission of a `map_array`, one experiment a job, to its last result."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    executor = submitit.AutoExecutor(folder=workspace.root / "submitit")
    executor.update_parameters(
        timeout_min=30, mem_gb=2, cpus_per_task=1, slurm_array_parallelism=AT_ONCE, slurm_partition="main"
    )
    own = [list(one.stages.values()) for one in view.experiments.values()]
    started = time.time()
    jobs = executor.map_array(
        run_experiment, [str(workspace.root)] * len(own), [json.dumps(one) for one in own]
    )
    ends = [job.result() for job in jobs]
    return max(ends) - started


def run_experiment(root: str, stages: str) -> float:
    """Run an experiment's stages in this process, as a script of one's own would; return when it ended."""
    workspace = Workspace(Path(root))
    for identity in json.loads(stages):
        stage = Stage.read(workspace, identity)
        if stage.kind.name not in OWN:
            continue
        parents = []
        for role, parent in stage.parents:
            commit = read_commit(workspace, parent)
            output = (
                workspace.output(parent, commit["attempt"]) if commit else workspace.stage(parent) / "plain"
            )
            parents.append(Parent(role, Stage.read(workspace, parent), output, []))
        place = workspace.stage(identity) / "plain-attempt"
        context = StageContext(workspace, stage, place, parents, Execution(device="cpu"), memory={})
        (place / "output").mkdir(parents=True, exist_ok=True)
        stage.kind.load_runner()(stage.recipe, context)
        (workspace.stage(identity) / "plain").symlink_to(place / "output")
    return time.time()


__all__ = ["lab", "running_lab"]
