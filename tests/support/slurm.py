"""The counting study on a real Slurm."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cluster.lab.lab import Lab
from cluster.slurm.queue import launch_failed
from tests.support.counting import CountingStudy


@dataclass
class Study(CountingStudy):
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
    def environment(self) -> dict[str, str]:
        return {**super().environment, "SLURM_CONF": str(self.lab.settings.configuration)}

    def write(self) -> tuple[Path, Path]:
        """Write the grid and the profile."""
        grid, profile = self.write_grid(), self.directory / "lab.yaml"
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

    def submit(self, *options: object) -> None:
        """Hand the grid to Slurm."""
        grid, profile = self.write()
        done = self.yates("submit", grid, "--on", "slurm", "--profile", profile, *options)
        assert done.returncode == 0, done.stdout + done.stderr

    def queue(self, *columns: str) -> list[list[str]]:
        """Rows of squeue: job, state, node unless others are named."""
        layout = "|".join(columns or ("%i", "%T", "%N"))
        lines = self.lab.call("squeue", "--noheader", "--array", "-o", layout).splitlines()
        return [line.split("|") for line in lines]

    def wait_until_quiet(self, seconds: float = 90.0, advised: bool = False) -> None:
        """Wait until no job is left, the tail's included, with an administrator who returns drained nodes.

        `advised` adds a person who does what `status` says about jobs that are held after a failed launch.
        """

        def quiet() -> bool:
            self.lab.heal()
            if advised and any(launch_failed(reason) for [reason] in self.queue("%r")):
                self.yates("resume")
            return not self.queue()

        self.wait(quiet, seconds, "the queue to be empty")
