"""The real supervisor under a real limit of memory, and how much its child takes without one."""

import os
import resource
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

from results.layout import Workspace
from tests.support.grids import ROOT, supervisor_command
from workers.submission import Submission

POLL_SECONDS = 0.02


def run_limited(workspace: Workspace, submission: Submission, limit: int | None = None) -> int:
    """Run a submission's first bundle to its end; the most bytes of address space that its child had.

    `limit` is the address space (RLIMIT_AS) of supervisor and child, in bytes: what goes beyond it fails, as it does
    on a machine that has no more.
    """
    process = subprocess.Popen(
        supervisor_command(workspace, submission),
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    if limit is not None:  # its child, which starts later, inherits it
        resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, limit))
    peak = 0
    while process.poll() is None:
        peak = max([peak, *map(_address_space, _children(process.pid))])
        time.sleep(POLL_SECONDS)
    assert process.returncode == 0
    return peak


def _children(process: int) -> list[int]:
    with suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(process).children()]
    return []


def _address_space(process: int) -> int:
    """The most that a process has had so far, 0 of one that is gone."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmPeak:"))) * 1024
    return 0
