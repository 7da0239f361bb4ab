"""Sixteen writers and a compactor, all killed with SIGKILL at a random moment, many times over.

The truth is read from the files of commits by this test alone; readers and the store must show exactly that.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import results
from results.generation import newest
from results.layout import Workspace
from results.snapshot import take
from results.store import compact
from tests.support.commands import ROOT

WRITERS = 16
ROUNDS_A_WORKSPACE = 20


class Truth:
    """Every `done.json` of a workspace, each read once: it never changes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.commits: dict[str, dict] = {}

    def refresh(self) -> None:
        for path in (self.root / "stages").glob("*/*/done.json"):
            if path.parent.name not in self.commits:
                self.commits[path.parent.name] = json.loads(path.read_bytes())

    def rows(self) -> Counter:
        return Counter(
            (stage, row["task"], row["value"])
            for stage, one in self.commits.items()
            for row in one["metrics"]
        )

    def winners(self) -> Counter:
        return Counter((stage, one["attempt"]) for stage, one in self.commits.items())

    def acknowledged(self) -> set:
        lines = (
            line for path in (self.root / "acknowledged").iterdir() for line in path.read_text().splitlines()
        )
        return {tuple(line.split()) for line in lines}


def rows(table) -> Counter:
    return Counter(zip(*(table[name].to_pylist() for name in ("stage", "task", "value")), strict=True))


def winners(table) -> Counter:
    return Counter(zip(table["stage"].to_pylist(), table["attempt"].to_pylist(), strict=True))


def check_readers(root: Path, truth: Truth) -> None:
    """What is acknowledged is committed; a reader sees every committed row once; a generation is whole."""
    truth.refresh()
    assert truth.acknowledged() <= truth.winners().keys()
    seen = take(Workspace(root))
    assert rows(seen.table("metrics")) == truth.rows()
    assert winners(seen.commits) == truth.winners()
    made = newest(Workspace(root))
    if made is not None:
        assert made.damaged_tables() == [] and made.damaged == {}
        assert rows(pq.read_table(made.table("metrics"))) <= truth.rows()


def check_store(root: Path, truth: Truth) -> None:
    """After one more compaction plain Parquet readers see every committed row once, and nothing else."""
    while compact(Workspace(root)) is None:
        pass
    latest = root / "store" / "latest"
    assert rows(pq.read_table(latest / "metrics.parquet")) == truth.rows()
    assert winners(pq.read_table(latest / "commits.parquet")) == truth.winners()
    for name in ("curves", "samples"):
        kept = {
            stage
            for stage, token in truth.winners()
            if (_output(root, stage, token) / f"{name}.parquet").exists()
        }
        assert set(pq.read_table(latest / f"{name}.parquet")["stage"].to_pylist()) == kept
    assert len(results.attempts(root).drop_duplicates(["stage", "token"])) == len(results.attempts(root))


def _output(root: Path, stage: str, token: str) -> Path:
    return Workspace(root).output(stage, token)


def kill(root: Path, rounds: range, seed: int) -> tuple[int, int]:
    """The rounds in one workspace; returns commits and generations."""
    root.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.results.nursery", str(root), str(WRITERS)]
    truth = Truth(root)
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as nursery:
        for round_ in rounds:
            nursery.stdin.write(f"{round_} {seed + round_}\n")
            nursery.stdin.flush()
            assert nursery.stdout.readline().strip().isdigit(), f"round {round_} did not end"
            check_readers(root, truth)
        nursery.stdin.close()
    check_store(root, truth)
    assert nursery.returncode == 0
    return len(truth.commits), newest(Workspace(root)).number


def test_a_few_rounds(tmp_path) -> None:
    commits, generations = kill(tmp_path / "runs", range(3), 0)
    assert commits > 3 and generations >= 1


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_two_hundred_rounds(tmp_path) -> None:
    total = Counter()
    for first in range(0, 200, ROUNDS_A_WORKSPACE):
        commits, generations = kill(tmp_path / f"runs{first}", range(first, first + ROUNDS_A_WORKSPACE), 1000)
        total.update(rounds=ROUNDS_A_WORKSPACE, commits=commits, generations=generations)
        print(f"{WRITERS} writers and a compactor killed together: {dict(total)}", flush=True)
    assert total["commits"] > 2000 and total["generations"] > 50
