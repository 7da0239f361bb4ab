"""The real `yates` command as a process, and what a workspace holds afterwards."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

import results

ROOT = Path(__file__).parents[2]
GRID = ROOT / "grids" / "alignment.yaml"
ASSETS = ROOT.parent / "shared" / "assets"


def yates(*arguments: object, timeout: float = 600, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `yates` to its end."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
        check=False,
    )


def start_yates(*arguments: object) -> "subprocess.Popen[str]":
    """Start `yates` and return at once; it leads a process group of its own."""
    return subprocess.Popen(
        command(*arguments),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def command(*arguments: object) -> list[str]:
    """The command line that a shell would run."""
    return [str(Path(sys.executable).with_name("yates")), *map(str, arguments)]


def experiments(workspace: Path) -> pd.DataFrame:
    """`results.load`, in an order that does not depend on how it ran."""
    return results.load(workspace).sort_values("experiment", ignore_index=True)


def everything(workspace: Path) -> dict[str, pd.DataFrame]:
    """Every table that must not depend on how a grid happened to run."""
    frames = {"load": experiments(workspace)}
    for name in ("metrics", "curves", "samples"):
        frame = getattr(results, name)(workspace)
        frames[name] = frame.sort_values(list(frame.columns), ignore_index=True)
    return frames


def assert_same_store(left: Path, right: Path) -> None:
    """Both workspaces hold the same values, to the last bit, apart from times and attempts."""
    ours, theirs = everything(left), everything(right)
    for name, frame in ours.items():
        pd.testing.assert_frame_equal(frame, theirs[name], check_exact=True, obj=name)
