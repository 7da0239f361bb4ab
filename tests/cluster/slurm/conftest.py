"""The tests of this folder talk to a real Slurm."""

from tests.support.lab import lab, running_lab, study, undisturbed

__all__ = ["lab", "running_lab", "study", "undisturbed"]
