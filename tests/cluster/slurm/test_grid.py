"""A whole grid through Slurm: the same store, few calls of sbatch, limits, GPUs, cancelling, mistakes."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from cluster.lab.lab import Lab, separable
from results.journal import Index
from tests.support.commands import GRID, assert_same_store, command, yates
from tests.support.counting import assert_committed_once
from tests.support.slurm import Study
from workers.submission import newest_submission

SLICE = (
    'variant == "single" and model == "llama-1-7b" and dataset == "beavertails" and preference == "harmless" '
    "and seed == 0"
)


@pytest.fixture
def counted(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a line for each call of sbatch: a script before the real one on PATH writes it."""
    calls, folder = tmp_path / "calls.txt", tmp_path / "bin"
    folder.mkdir()
    real = shutil.which("sbatch")
    script = folder / "sbatch"
    script.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexec {real} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return calls


def alignment(study: Study, where: str | None = None) -> list[object]:
    """`yates submit` of the alignment grid, or of a part of it."""
    _, profile = study.write()
    chosen = [] if where is None else ["--where", where]
    return ["submit", GRID, "--on", "slurm", "--profile", profile, *chosen]


def test_alignment_on_slurm_gives_the_store_of_a_local_run(study: Study, tmp_path: Path) -> None:
    study.sizes, study.seeds = 4, 1
    done = study.yates(*alignment(study, SLICE))
    assert done.returncode == 0, done.stdout + done.stderr
    study.wait(lambda: study.status()["pending"] + study.status()["running"] == 0, 400, "alignment")
    study.wait_until_quiet()
    assert yates("run", GRID, "-w", tmp_path / "local", "--where", SLICE).returncode == 0
    assert_same_store(tmp_path / "local", study.root)


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_the_whole_of_alignment_gives_the_store_of_a_local_run(study: Study, tmp_path: Path) -> None:
    study.profile = {"jobs_at_once": 4}
    done = study.yates(*alignment(study))
    assert done.returncode == 0, done.stdout + done.stderr
    study.wait(lambda: not study.queue(), 3600, "the queue to be empty")
    counts = study.status()
    assert counts["done"] == counts["experiments"]
    local = Path(os.environ.get("YATES_FINISHED", tmp_path / "local"))
    assert yates("run", GRID, "-w", local, timeout=3000).returncode == 0
    assert_same_store(local, study.root)


def test_the_whole_of_alignment_is_submitted_in_few_calls(lab: Lab, tmp_path: Path, counted: Path) -> None:
    """`tests/benchmarks/test_slurm.py` measures the seconds."""
    study = Study(lab, tmp_path / "study")
    done = study.yates(*alignment(study))
    assert done.returncode == 0, done.stdout + done.stderr
    assert 1 <= len(counted.read_text().splitlines()) <= 5
    lab.call("scancel", "--user", os.environ.get("USER") or "root")


def test_ten_thousand_stages_against_a_small_array_limit(study: Study, counted: Path) -> None:
    study.sizes, study.seeds = 10, 1000
    study.profile = {"max_array_size": 1001, "hours": 0.05}
    grid, profile = study.write()
    started = time.monotonic()
    done = study.yates("submit", grid, "--on", "slurm", "--profile", profile)
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stdout + done.stderr
    submission = newest_submission(study.workspace)
    assert submission is not None
    arrays = len(counted.read_text().splitlines()) - 1
    print(
        f"\n{len(submission.stages)} stages, {len(submission.bundles)} bundles, {arrays} arrays, {seconds:.1f} s"
    )
    assert len(submission.bundles) > 1001
    assert arrays == -(-len(submission.bundles) // 1001)
    assert seconds < 60


@pytest.fixture
def seven_jobs(lab: Lab) -> object:
    """At most seven jobs of this user in the queue."""
    user = subprocess.run(["whoami"], capture_output=True, text=True, check=True).stdout.strip()

    def limit(jobs: int) -> None:
        lab.call("sacctmgr", "-i", "modify", "user", user, "set", f"MaxSubmitJobs={jobs}")
        time.sleep(1)

    limit(7)
    yield
    limit(-1)


def test_the_tail_brings_home_what_a_limit_left_over(study: Study, seven_jobs: object) -> None:
    study.sizes, study.seeds, study.pause = 10, 20, 0.2
    study.submit()
    assert len(study.queue()) <= 7
    study.wait_until_done(400)
    study.wait_until_quiet()
    assert_committed_once(study)


def test_a_gpu_is_held_by_one_bundle_at_a_time(lab: Lab, tmp_path: Path) -> None:
    resources = {"memory_gb": 0.2, "gpus": 1}
    study = Study(lab, tmp_path / "study", sizes=1, seeds=30, steps=3, pause=0.5, resources=resources)
    study.submit()
    most = 0

    def done() -> bool:
        nonlocal most
        most = max(most, sum(state == "RUNNING" for _, state, _ in study.queue()))
        return study.status()["done"] == 30

    study.wait(done, 200, "thirty stages on eight GPUs")
    spans = device_spans(study)
    assert set(spans["devices"]) <= {"0", "1"}
    assert most <= 9  # eight bundles and the tail
    assert spans["node"].nunique() == 4
    for _, same in spans.groupby(["node", "devices"]):
        ordered = same.sort_values("began")
        assert (ordered["began"].iloc[1:].to_numpy() >= ordered["ended"].iloc[:-1].to_numpy() - 0.01).all()


def test_a_shape_with_two_gpus_gets_both(lab: Lab, tmp_path: Path) -> None:
    resources = {"memory_gb": 0.2, "gpus": 2}
    study = Study(lab, tmp_path / "study", sizes=1, seeds=2, resources=resources)
    study.submit()
    study.wait_until_done()
    assert set(device_spans(study)["devices"]) == {"0,1"}


def device_spans(study: Study) -> pd.DataFrame:
    """When each stage held which devices of which node."""
    index = Index(study.workspace)
    index.refresh()
    rows = []
    for stage, token in index.done.items():
        output = study.workspace.output(stage, token)
        began, ended = map(float, (output / "times.txt").read_text().split())
        node = (output / "node.txt").read_text()
        rows.append((node, (output / "devices.txt").read_text(), began, ended))
    return pd.DataFrame(rows, columns=["node", "devices", "began", "ended"])


def test_cancelling_stops_the_selected_and_spares_what_others_need(lab: Lab, tmp_path: Path) -> None:
    study = Study(lab, tmp_path / "study", sizes=2, seeds=2, steps=20, pause=0.3)
    study.submit()
    study.wait(study.running, 60, "a leaf to take steps")
    assert study.yates("cancel", "--where", "seed == 1").returncode == 0
    study.wait(lambda: study.status()["done"] == 2, 120, "the others to be done")
    study.wait_until_quiet(90)
    assert (study.status()["done"], study.status()["pending"]) == (2, 2)
    assert study.yates("resume").returncode == 0
    study.wait_until_done()


def test_a_trial_goes_first_and_the_rest_follows(lab: Lab, tmp_path: Path) -> None:
    study = Study(lab, tmp_path / "study", sizes=2, seeds=3)
    study.submit("--canary")
    first = newest_submission(study.workspace)
    assert first is not None and first.canary and len(first.stages) == 2
    study.wait_until_done()


def test_resume_sends_nothing_twice(lab: Lab, tmp_path: Path) -> None:
    study = Study(lab, tmp_path / "study", sizes=2, seeds=2, steps=20, pause=0.3)
    study.submit()
    before = len(study.queue())
    done = study.yates("resume")
    assert done.returncode == 0 and "nothing was submitted" in done.stdout
    assert len(study.queue()) == before
    study.wait_until_done()


def test_status_and_why_tell_what_slurm_says(lab: Lab, tmp_path: Path) -> None:
    study = Study(lab, tmp_path / "study", sizes=1, seeds=2, profile={"constraint": None})
    lab.call("scontrol", "update", "partition=main", "state=down")
    try:
        study.submit()
        report = study.status()["slurm"]
        assert report["running"] == 0 and report["pending"] and report["tails"] == 1
        said = study.yates("why", "1/s0").stdout
        assert "which job" in said and "PENDING" in said
    finally:
        lab.call("scontrol", "update", "partition=main", "state=up")
    study.wait_until_done()


def broken(study: Study, **profile: object) -> subprocess.CompletedProcess[str]:
    """Submit with a profile that cannot work."""
    study.profile = {**study.profile, **profile}
    grid, path = study.write()
    return study.yates("submit", grid, "--on", "slurm", "--profile", path)


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ({"partitions": [{"name": "gone"}], "tail_partition": "gone"}, "partition that does not exist"),
        ({"account": "nobody"}, "account in the profile is refused"),
        ({"qos": "platinum"}, "qos in the profile is refused"),
        ({"partitions": [{"name": "main", "gpsu": 1}]}, "lab.yaml:"),
        ({"hours": "long"}, "hours in profile 'lab'"),
        ({"constraint": "warp"}, "constraint in the profile"),
        ({"sbatch": {"nonsense": 1}}, "an option that sbatch lacks"),
        ({"python": "/no/such/python"}, "/no/such/python"),
    ],
)
def test_a_profile_that_cannot_work_is_one_message(study: Study, profile: dict, said: str) -> None:
    done = broken(study, **profile)
    text = done.stdout + done.stderr
    assert done.returncode == 2 and said in text, text
    assert "Traceback" not in text
    study.wait_until_quiet(20)


def test_an_unknown_profile_lists_those_that_there_are(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    grid, _ = study.write()
    monkeypatch.setenv("YATES_PROFILES", str(study.directory))
    done = study.yates("submit", grid, "--on", "slurm", "--profile", "lap")
    assert done.returncode == 2 and "did you mean 'lab'" in done.stderr


@pytest.mark.skipif(not separable(), reason="nodes have mounts of their own only as root")
def test_a_workspace_that_the_node_cannot_see_is_said_at_once(lab: Lab) -> None:
    """On a memory filesystem that was mounted after the nodes started, as a login node's local disk is."""
    hidden = Path("/mnt/yates-hidden")
    hidden.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "--make-private", "none", hidden], check=True)
    try:
        study = Study(lab, hidden / "study")
        done = broken(study)
        assert done.returncode == 2 and "filesystem that the node sees" in done.stderr, (
            done.stdout + done.stderr
        )
        seen = study.yates("doctor", "--on", "slurm", "--profile", study.directory / "lab.yaml")
        assert seen.returncode == 2 and "not visible" in seen.stdout, seen.stdout
    finally:
        subprocess.run(["umount", "-l", hidden], check=True)
        hidden.rmdir()


def test_doctor_finds_a_healthy_lab_well(study: Study) -> None:
    _, profile = study.write()
    done = study.yates("doctor", "--on", "slurm", "--profile", profile)
    assert done.returncode == 0, done.stdout
    assert "ran on n" in done.stdout and "sbatch on nodes" in done.stdout


def test_a_profile_is_detected_and_works(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = subprocess.run(
        [*command(), "profile", "detect", "--name", "here"],
        env={**os.environ, **study.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    settings = yaml.safe_load((tmp_path / "profiles" / "here.yaml").read_text())
    assert settings["partitions"][0] == {"name": "main", "gpus": 2, "cpus": 4, "memory_gb": 7.4, "nodes": 4}
    grid, _ = study.write()
    done = study.yates("submit", grid, "--on", "slurm", "--profile", "here")
    assert done.returncode == 0, done.stderr
    study.wait_until_done()
