"""Whole grids on a real Ray: stand-in GPUs, shares, cancelling, the Ray that Yates starts, and what is refused."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

import results
from tests.support.commands import ROOT, assert_same_store, yates
from tests.support.ray import RayCluster, RayStudy, ray_cluster
from workers.submission import newest_submission

SHAPES = """
study: shapes
name: "{size}/s{seed}"
factors: {size: [quarter, whole, double], seed: [0, 1, 2, 3, 4, 5]}
blocks: {all: {product: {size: all, seed: all}}}
levels:
  size: {quarter: {gpus: 0.25, steps: 9}, whole: {gpus: 1, steps: 4}, double: {gpus: 2, steps: 5}}
pipeline:
  leaf:
    kind: "tests.support.toys:COUNT"
    recipe: {seed: 0, value: "${seed}", steps: "${size.steps}", training: {steps: 800}}
    resources: {memory_gb: 0.2, gpus: "${size.gpus}"}
"""


@pytest.fixture(scope="module")
def gpus() -> Iterator[RayCluster]:
    """One node with eight processors and four stand-in GPUs."""
    with ray_cluster(nodes=1, cpus=8, gpus=4) as running:
        yield running


def test_no_gpu_is_ever_promised_twice(gpus: RayCluster, tmp_path: Path) -> None:
    """Shares of 0.25, one GPU, two GPUs on four: at no moment is more than one GPU's worth on any device."""
    study = RayStudy(tmp_path / "study", gpus, sizes=3, seeds=6, pause=0.4)
    study.directory.mkdir()
    grid = study.directory / "shapes.yaml"
    grid.write_text(SHAPES)
    done = study.yates("submit", grid, "--on", "ray", "--address", gpus.address)
    assert done.returncode == 0, done.stdout + done.stderr
    study.wait_until_done(240)
    spans = device_spans(study)
    assert set(spans["gpus"]) == {0.25, 1.0, 2.0}
    assert {len(one) for one in spans[spans["gpus"] == 2.0]["devices"]} == {2}
    moments = sorted(spans["began"])
    for moment in moments:
        at_once = spans[(spans["began"] <= moment) & (moment < spans["ended"])]
        for device in range(4):
            load = sum(min(one.gpus, 1.0) for one in at_once.itertuples() if device in one.devices)
            assert load <= 1.0 + 1e-9, at_once
    shares = spans[spans["gpus"] == 0.25]
    together = [((shares["began"] <= moment) & (moment < shares["ended"])).sum() for moment in moments]
    assert max(together) > 1, "several shares of a GPU are used at once"


def device_spans(study: RayStudy) -> pd.DataFrame:
    """From `attempts`: which devices each stage held, how much of them it was promised, and when."""
    submission = newest_submission(study.workspace)
    assert submission is not None
    promised = {one.stage: submission.shapes[one.shape]["gpus"] for one in submission.stages}
    attempts = results.attempts(study.root)
    rows = []
    for one in attempts[attempts["ending"] == "done"].itertuples():
        output = study.workspace.output(one.stage, one.token)
        devices = frozenset(map(int, (output / "devices.txt").read_text().split(",")))
        began, ended = map(float, (output / "times.txt").read_text().split())
        rows.append((one.stage, devices, promised[one.stage], began, ended))
    return pd.DataFrame(rows, columns=["stage", "devices", "gpus", "began", "ended"])


MIXED = SHAPES.replace("[quarter, whole, double]", "[little, much]").replace("[0, 1, 2, 3, 4, 5]", "[0, 1]")
MIXED = MIXED.replace(
    "{quarter: {gpus: 0.25, steps: 9}, whole: {gpus: 1, steps: 4}, double: {gpus: 2, steps: 5}}",
    "{little: {memory: 6, steps: 4}, much: {memory: 30, steps: 5}}",
).replace('gpus: "${size.gpus}"', 'gpus: 1, gpu_memory_gb: "${size.memory}"')


def test_small_stages_go_to_small_gpus_and_large_ones_to_large(tmp_path: Path) -> None:
    """A node with a GPU of 16 GB and one with a GPU of 80 GB: each stage on the smallest type that holds it."""
    with ray_cluster(nodes=0) as mixed:
        mixed.add_node(cpus=2, gpus=1, gpu_type="T4")
        mixed.add_node(cpus=2, gpus=1, gpu_type="A100-80G")
        study = RayStudy(tmp_path / "study", mixed, sizes=2, seeds=2)
        study.directory.mkdir()
        grid = study.directory / "mixed.yaml"
        grid.write_text(MIXED)
        done = study.yates("submit", grid, "--on", "ray", "--address", mixed.address)
        assert done.returncode == 0, done.stdout + done.stderr
        study.wait_until_done(240)
        nodes = {one["node_id"]: one["resources_total"] for one in mixed.state("nodes")}
        warm = [one for one in mixed.state("actors") if one["class_name"] == "WarmActor"]
    used = {(one["required_resources"]["GPU"], gpu_types(nodes[one["node_id"]])) for one in warm}
    assert used == {(0.5, ("T4",)), (0.5, ("A100-80G",))}


def gpu_types(resources: dict[str, float]) -> tuple[str, ...]:
    prefix = "accelerator_type:"
    return tuple(name.removeprefix(prefix) for name in resources if name.startswith(prefix))


def test_what_can_never_be_placed_is_said_at_once(cluster: RayCluster, tmp_path: Path) -> None:
    study = RayStudy(tmp_path / "study", cluster, resources={"memory_gb": 0.2, "gpus": 2})
    began = time.monotonic()
    done = study.yates("submit", study.write_grid(), "--on", "ray", "--address", cluster.address)
    assert done.returncode == 2
    assert "can never hold a stage of this grid: it needs 1 CPU, 2 GPUs" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(study.workspace.submissions.glob("*.json"))
    assert time.monotonic() - began < 60


def test_a_wrong_address_is_one_message(tmp_path: Path) -> None:
    study = RayStudy(tmp_path / "study")
    done = study.yates("submit", study.write_grid(), "--on", "ray", "--address", "http://127.0.0.1:9")
    assert done.returncode == 2
    assert "no Ray cluster answers at http://127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_without_ray_is_refused(tmp_path: Path) -> None:
    study = RayStudy(tmp_path / "study")
    done = study.yates("submit", study.write_grid(), "--on", "local", "--address", "http://127.0.0.1:9")
    assert done.returncode == 2
    assert "--address belongs to --on ray" in done.stderr


@pytest.mark.parametrize("module", ["ray", "aiohttp_cors"])
def test_ray_missing_is_one_message(tmp_path: Path, module: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Without:\n"
        "    def __init__(self, finder):\n"
        "        self.finder = finder\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        gone = name.partition('.')[0] == {module!r}\n"
        "        return None if gone else self.finder.find_spec(name, path, target)\n"
        "sys.meta_path[:] = [Without(one) for one in sys.meta_path]\n"
    )
    study = RayStudy(tmp_path / "study")
    done = yates(
        "submit",
        study.write_grid(),
        "--on",
        "ray",
        "-w",
        study.root,
        PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}",
    )
    assert done.returncode == 2
    assert "pip install 'yates[ray]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_version_is_one_message(cluster: RayCluster, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import ray\nray.__version__ = '2.1.0'\n")
    study = RayStudy(tmp_path / "study")
    done = yates(
        "submit",
        study.write_grid(),
        "--on",
        "ray",
        "--address",
        cluster.address,
        "-w",
        study.root,
        PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}",
        RAY_AUTH_MODE="disabled",
    )
    assert done.returncode == 2
    assert "this environment has 2.1.0" in done.stderr
    assert "Traceback" not in done.stderr


def test_cancelling_stops_the_selected_alone(cluster: RayCluster, tmp_path: Path) -> None:
    study = RayStudy(tmp_path / "study", cluster, sizes=2, seeds=2, steps=20, pause=0.3)
    study.submit()
    study.wait(study.running, 60, "a leaf to take steps")
    done = study.yates("cancel", "--where", "size == 2")
    assert done.returncode == 0, done.stderr
    study.wait_until_quiet(120)
    answer = study.status()
    assert answer["done"] == 2
    study.resume()
    study.wait_until_done()


def test_the_status_names_the_driver_and_a_second_resume_sends_nothing(
    cluster: RayCluster, tmp_path: Path
) -> None:
    study = RayStudy(tmp_path / "study", cluster, sizes=1, seeds=2, steps=20, pause=0.3)
    study.submit()
    study.wait(study.running, 60, "a leaf to take steps")
    answer = study.status()
    [driver] = answer["ray"]["drivers"]
    assert driver["address"] == cluster.address
    assert answer["workers"]
    done = study.yates("resume")
    assert "nothing was submitted" in done.stdout
    study.wait_until_done()


def test_ray_is_started_here_when_no_address_is_named_and_ends_afterwards(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    study = RayStudy(tmp_path / "study", sizes=1, seeds=2, pause=0.05)
    study.submit()
    keeper = json.loads((study.root / "ray.json").read_text())
    assert Path(keeper["token"]).stat().st_mode & 0o077 == 0
    study.wait_until_done()
    study.wait(lambda: not (study.root / "ray.json").exists(), 90, "Ray to end")
    study.wait(lambda: not psutil.pid_exists(keeper["process"]["process"]), 60, "its keeper to end")
    here = RayStudy(tmp_path_factory.mktemp("here"), sizes=1, seeds=2).run_here()
    assert_same_store(here.root, study.root)


def test_nothing_of_ray_is_imported_by_status(tmp_path: Path) -> None:
    study = RayStudy(tmp_path / "study", sizes=1, seeds=1).run_here()
    code = (
        "import sys; from orchestrator.cli.main import main\n"
        f"sys.argv = ['yates', 'status', '-w', {str(study.root)!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip().endswith("False")
