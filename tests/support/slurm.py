"""A grid of counting stages on a real Slurm, and what must hold of it whatever happened to its jobs."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

import results
from cluster.lab.lab import Lab
from orchestrator.view import View
from results.layout import Workspace
from tests.support.commands import command

GRID = """
study: counting
name: "{size}/s{seed}"
factors: {size: SIZES, seed: SEEDS}
blocks: {all: {product: {size: all, seed: all}}}
pipeline:
  root:
    kind: "tests.support.toys:COUNT"
    recipe: {seed: 0, value: "${size}", steps: 2}
    resources: RESOURCES
    show: false
  leaf:
    kind: "tests.support.toys:COUNT"
    parents: {parent: root}
    recipe: {value: 0.5, steps: STEPS, training: {steps: 800}}
    resources: RESOURCES
"""
ROOT = Path(__file__).parents[2]
STALE_SECONDS = 12


@dataclass
class Study:
    """One grid in one workspace on the lab. `steps` of `pause` seconds each make a leaf; `profile` adds settings."""

    lab: Lab
    directory: Path
    sizes: int = 2
    seeds: int = 4
    steps: int = 4
    pause: float = 0.2
    resources: dict[str, Any] = field(default_factory=lambda: {"memory_gb": 0.5})
    profile: dict[str, Any] = field(default_factory=dict)
    partition: str = "main"
    cpus: int = 4

    @property
    def root(self) -> Path:
        return self.directory / "runs"

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "SLURM_CONF": str(self.lab.settings.configuration),
            "YATES_TOY_PAUSE": str(self.pause),
            "YATES_STALE_SECONDS": str(STALE_SECONDS),
            "PYTHONPATH": str(ROOT),
        }

    def write(self) -> tuple[Path, Path]:
        """Write the grid and the profile."""
        self.directory.mkdir(parents=True, exist_ok=True)
        text = GRID.replace("SIZES", str(list(range(1, self.sizes + 1))))
        text = text.replace("SEEDS", str(list(range(self.seeds)))).replace("STEPS", str(self.steps))
        grid, profile = self.directory / "counting.yaml", self.directory / "lab.yaml"
        grid.write_text(text.replace("RESOURCES", json.dumps(self.resources)))
        settings = {
            "partitions": [
                {
                    "name": self.partition,
                    "gpus": 2,
                    "cpus": self.cpus,
                    "memory_gb": 2.0 * self.cpus,
                    "nodes": 4,
                }
            ],
            "tail_partition": "main",
            "signal_seconds": 15,
            "linger_seconds": 40.0,
            **self.profile,
        }
        profile.write_text(yaml.safe_dump(settings))
        return grid, profile

    def yates(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run `yates` on this workspace."""
        return subprocess.run(
            command(*arguments, "-w", self.root),
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, **self.environment},
            check=False,
        )

    def submit(self, *options: object) -> None:
        """Hand the grid to Slurm."""
        grid, profile = self.write()
        done = self.yates("submit", grid, "--on", "slurm", "--profile", profile, *options)
        assert done.returncode == 0, done.stdout + done.stderr

    def run_here(self) -> "Study":
        """The same grid on the local backend, undisturbed and without pauses."""
        self.pause = 0.0
        grid, _ = self.write()
        done = self.yates("run", grid)
        assert done.returncode == 0, done.stdout + done.stderr
        return self

    def queue(self, *columns: str) -> list[list[str]]:
        """Rows of squeue: job, state, node unless others are named."""
        layout = "|".join(columns or ("%i", "%T", "%N"))
        lines = self.lab.call("squeue", "--noheader", "--array", "-o", layout).splitlines()
        return [line.split("|") for line in lines]

    def wait(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Wait until `condition` holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self.queue()} {self.status()}"
            time.sleep(0.2)

    def running(self) -> bool:
        """Whether a leaf has taken a step."""
        return any(self.workspace.stages.glob("*/*/attempts/*/checkpoints/*3"))

    def status(self) -> dict[str, Any]:
        """`yates status --json`."""
        done = self.yates("status", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def wait_until_done(self, seconds: float = 180.0) -> None:
        """Wait until every experiment is done."""
        view = View(self.workspace)

        def done() -> bool:
            view.refresh()
            return view.counts().done == self.sizes * self.seeds

        self.wait(done, seconds, "the grid to be done")

    def wait_until_quiet(self, seconds: float = 60.0) -> None:
        """Wait until no job is left, the tail's included."""
        self.wait(lambda: not self.queue(), seconds, "the queue to be empty")


def assert_kept_its_checkpoints(study: Study) -> None:
    """No attempt began from zero when an earlier one at its stage had left a complete checkpoint."""
    attempts = results.attempts(study.root)
    for stage, tries in attempts.groupby("stage"):
        reached = 0
        for _, one in tries.sort_values("number").iterrows():
            begun = 0 if pd.isna(one["resumed_from"]) else int(one["resumed_from"])
            assert begun >= reached, f"{stage} began at {begun} though {reached} was saved"
            saved = study.workspace.attempt(str(stage), str(one["token"])) / "checkpoints"
            steps = [int(path.name) for path in saved.glob("[0-9]*") if (path / "MANIFEST.json").exists()]
            reached = max([reached, *steps])


def assert_committed_once(study: Study) -> None:
    """Every stage has one winner, and the attempts that others lost are marked as such."""
    attempts = results.attempts(study.root)
    winners = attempts[attempts["ending"] == "done"].groupby("stage").size()
    assert (winners == 1).all()
    assert len(winners) == study.sizes * (study.seeds + 1)
