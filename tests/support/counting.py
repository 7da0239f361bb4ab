"""A grid of counting stages on whatever backend, and what must hold of it whatever happened to its jobs."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pandas as pd

import results
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


class CountingStudy:
    """One grid in one workspace: `sizes` times `seeds` leaves of `steps` steps, each of `pause` seconds."""

    directory: Path
    sizes: int
    seeds: int
    steps: int
    pause: float
    resources: dict[str, Any]

    @property
    def root(self) -> Path:
        return self.directory / "runs"

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "YATES_TOY_PAUSE": str(self.pause),
            "YATES_STALE_SECONDS": str(STALE_SECONDS),
            "PYTHONPATH": str(ROOT),
        }

    def write_grid(self) -> Path:
        """Write the grid."""
        self.directory.mkdir(parents=True, exist_ok=True)
        text = GRID.replace("SIZES", str(list(range(1, self.sizes + 1))))
        text = text.replace("SEEDS", str(list(range(self.seeds)))).replace("STEPS", str(self.steps))
        grid = self.directory / "counting.yaml"
        grid.write_text(text.replace("RESOURCES", json.dumps(self.resources)))
        return grid

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

    def run_here(self) -> Self:
        """The same grid on the local backend, undisturbed and without pauses."""
        self.pause = 0.0
        grid = self.write_grid()
        done = self.yates("run", grid)
        assert done.returncode == 0, done.stdout + done.stderr
        return self

    def queue(self) -> list[list[str]]:
        """What the backend's queue shows, where it has one."""
        return []

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


def assert_kept_its_checkpoints(study: CountingStudy) -> None:
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


def assert_committed_once(study: CountingStudy) -> None:
    """Every stage has one winner, and the attempts that others lost are marked as such."""
    attempts = results.attempts(study.root)
    winners = attempts[attempts["ending"] == "done"].groupby("stage").size()
    assert (winners == 1).all()
    assert len(winners) == study.sizes * (study.seeds + 1)
