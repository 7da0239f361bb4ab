"""A disk that fills up and a filesystem that cannot be written, for real: small filesystems in memory."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import results
from tests.support.commands import yates

TOYS = """
# yates run toys.yaml
study: toys
factors: {seed: [0, 1, 2, 3, 4, 5]}
blocks: {all: {product: {seed: all}}}
pipeline:
  toy: {kind: "tests.support.toys:TOY", recipe: {value: 1.5, steps: 2}}
"""


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "toys.yaml"
    path.write_text(TOYS)
    return path


@pytest.fixture
def filesystem(tmp_path: Path) -> Iterator[Path]:
    """A mounted filesystem of 16 MB."""
    place = tmp_path / "mounted"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip("mounting a small filesystem needs root")
    yield place
    subprocess.run(["umount", "-l", place], check=False)


def remount(place: Path, options: str) -> None:
    """Once nobody writes there: a worker whose run is over may still close its log."""
    deadline = time.monotonic() + 60
    while subprocess.run(["mount", "-o", f"remount,{options}", place], check=False).returncode:
        assert time.monotonic() < deadline, "somebody keeps a file open"
        time.sleep(0.2)


def fill(place: Path) -> Path:
    """Leave no room."""
    ballast = place / "ballast"
    with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as stream:
        while stream.write(b"\0" * 4096):
            pass
    return ballast


def test_a_full_disk_is_one_message_and_nothing_is_lost(grid: Path, filesystem: Path) -> None:
    runs = filesystem / "runs"
    assert yates("run", grid, "-w", runs, "--where", "seed in (0, 1)").returncode == 0
    before = results.load(runs)
    ballast = fill(filesystem)
    full = yates("run", grid, "-w", runs)
    assert full.returncode in (1, 2)
    assert "No space left" in full.stdout + full.stderr
    assert "Traceback" not in full.stdout + full.stderr
    assert len(results.load(runs)) >= len(before)
    ballast.unlink()
    assert yates("verify", "-w", runs).returncode == 0
    assert yates("run", grid, "-w", runs).returncode == 0
    frame = results.load(runs)
    assert len(frame) == 6 and (frame["toy"] == 1.5).all()


def test_a_read_only_workspace_is_one_message_and_can_still_be_read(grid: Path, filesystem: Path) -> None:
    runs = filesystem / "runs"
    assert yates("run", grid, "-w", runs, "--where", "seed == 0").returncode == 0
    remount(filesystem, "ro")
    refused = yates("run", grid, "-w", runs)
    assert refused.returncode == 2
    assert "the workspace cannot be written (Read-only file system)" in refused.stderr
    assert "1 done" in yates("status", "-w", runs).stdout
    assert len(results.load(runs)) == 1
