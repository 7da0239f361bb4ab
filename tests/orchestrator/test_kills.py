"""Kill -9 of the driver, a supervisor, a child, or all of them, at random moments of the real grid."""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.support.commands import GRID, assert_same_store, experiments, start_yates, yates

FORTY = 'model == "llama-1-7b" and variant == "single" and adapter == "lora"'
FOUR = f'{FORTY} and dataset == "beavertails" and preference == "harmless" and seed in (0, 1)'
SHORT = ("--set", "recipes.pretrain.steps=40")


def family(workspace: Path) -> dict[str, list[psutil.Process]]:
    """The live processes of a workspace by their part."""
    found: dict[str, list[psutil.Process]] = {"driver": [], "supervisor": [], "child": []}
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(workspace) in line:
            part = (
                "supervisor"
                if "workers.supervisor" in line
                else "child"
                if "workers.child" in line
                else "driver"
            )
            found[part].append(process)
    return found


def strike(workspace: Path, generator: random.Random) -> str:
    """Kill one part of the run, or everything; tell which."""
    part = generator.choice(["driver", "supervisor", "child", "all"])
    members = family(workspace)
    victims = [one for parts in members.values() for one in parts] if part == "all" else members[part][:1]
    for process in victims:
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    return part


def harass(workspace: Path, where: str, kills: int, pause: tuple[float, float], seed: int) -> list[str]:
    """Run the slice, striking `kills` times and resuming each time; then let it finish."""
    generator = random.Random(seed)
    drivers = [start_yates("run", GRID, "-w", workspace, "--where", where, *SHORT)]
    struck = []
    while not list(workspace.glob("plans/*.json")):
        time.sleep(0.1)
    for _ in range(kills):
        time.sleep(generator.uniform(*pause))
        struck.append(strike(workspace, generator))
        drivers.append(start_yates("resume", "-w", workspace))
    finished = yates("resume", "-w", workspace, timeout=3000)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    for driver in drivers:
        driver.wait(120)
    return struck


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_kills_on_forty_experiments(tmp_path: Path) -> None:
    calm = yates("run", GRID, "-w", tmp_path / "calm", "--where", FORTY, *SHORT, timeout=3000)
    assert calm.returncode == 0, calm.stderr
    struck = harass(tmp_path / "struck", FORTY, 20, (2.0, 12.0), seed=11)
    assert len(set(struck)) == 4
    assert len(experiments(tmp_path / "struck")) == 40
    assert_same_store(tmp_path / "calm", tmp_path / "struck")


@pytest.mark.timeout(900)
def test_four_kills_on_four_experiments(tmp_path: Path) -> None:
    calm = yates("run", GRID, "-w", tmp_path / "calm", "--where", FOUR, *SHORT)
    assert calm.returncode == 0, calm.stderr
    harass(tmp_path / "struck", FOUR, 4, (6.0, 14.0), seed=5)
    assert_same_store(tmp_path / "calm", tmp_path / "struck")


@pytest.mark.timeout(900)
def test_two_drivers_at_once_commit_every_stage_once(tmp_path: Path) -> None:
    workspace = tmp_path / "shared"
    drivers = [start_yates("run", GRID, "-w", workspace, "--where", FOUR, *SHORT) for _ in range(2)]
    assert [driver.wait(600) for driver in drivers] == [0, 0]
    assert yates("run", GRID, "-w", tmp_path / "alone", "--where", FOUR, *SHORT).returncode == 0
    assert_same_store(tmp_path / "alone", workspace)
    assert not list(workspace.glob("stages/*/*/claims/000002"))
