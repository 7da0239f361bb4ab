"""A real Slurm as pytest fixtures: four virtual nodes with two stand-in GPUs each."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.lab.configuration import DEFAULT_PARTITIONS, LabSettings
from cluster.lab.lab import Lab, LabError
from tests.support.slurm import Study

CANCELLING = (
    "PartitionName=cancelling Nodes=ALL MaxTime=INFINITE DefaultTime=10 PriorityTier=1 PreemptMode=CANCEL "
    "GraceTime=10"
)


@pytest.fixture(scope="session")
def running_lab() -> Iterator[Lab]:
    """The lab, up for the whole session; without Slurm's packages the tests are skipped."""
    root = Path(tempfile.mkdtemp(prefix="yates-lab-"))
    root.chmod(0o755)  # munge and MariaDB run as users of their own
    settings = LabSettings(
        root,
        port=18000 + 40 * (os.getpid() % 200),
        partitions=(*DEFAULT_PARTITIONS, CANCELLING),
    )
    lab = Lab(settings)
    try:
        lab.up()
    except LabError as error:
        pytest.skip(f"no Slurm lab: {error}")
    yield lab
    lab.down(purge=True)


@pytest.fixture
def lab(running_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """The lab with every node well and an empty queue, before and after."""
    monkeypatch.setenv("SLURM_CONF", str(running_lab.settings.configuration))
    yield running_lab
    running_lab.call("scancel", "--user", os.environ.get("USER") or "root")
    running_lab.up()
    running_lab.call("scancel", "--user", os.environ.get("USER") or "root")
    deadline = time.monotonic() + 60  # jobs that are ending still count against the limits of the next test
    while running_lab.call("squeue", "--noheader") and time.monotonic() < deadline:
        running_lab.heal()
        time.sleep(0.2)


@pytest.fixture
def study(lab: Lab, tmp_path: Path) -> Study:
    """Eight experiments of four short steps."""
    return Study(lab, tmp_path / "study")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int, int], Path]:
    """Stores of grids that ran on this machine alone, by their sizes: made when first asked for."""
    return {}
