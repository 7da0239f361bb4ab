"""`yates bench`: real stages of a small grid; only the clock and the count of bytes are made up.

python -m tests.orchestrator.cli.test_bench      writes the golden file anew
"""

import itertools
import json
import os
import tempfile
from pathlib import Path
from unittest.mock import patch

import pytest
from typer.testing import CliRunner

from orchestrator.bench import measurement, report
from orchestrator.cli.main import app
from tests.orchestrator.bench.grid import write
from workers.context import BadInput
from workers.memory import Peak

GOLDEN = Path(__file__).with_name("golden") / "bench.txt"


def bench(folder: Path, *arguments: str) -> str:
    """What the verb prints where every look at the clock is a quarter of a second after the one before."""
    clock = itertools.count(0.0, 0.25)
    with (
        patch.object(measurement, "now", lambda: next(clock)),
        patch.object(measurement.Peak, "of_this_process", lambda: Peak(850_000_000, None)),
        patch.object(report, "memory_gigabytes", lambda device: 16.0),
        patch.dict(os.environ, COLUMNS="100"),
    ):
        done = CliRunner().invoke(app, ["bench", str(write(folder)), *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_table(tmp_path: Path) -> None:
    assert bench(tmp_path) == GOLDEN.read_text(encoding="utf-8")


def test_json_has_the_same_and_a_failure_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(recipe: object, context: object) -> None:
        raise BadInput("no such rows")

    monkeypatch.setattr("workers.stages.reference.run", fail)
    rows = {row["stage"]: row for row in json.loads(bench(tmp_path, "--json", "--steps", "2"))}
    assert rows["reference"]["note"] == "no such rows"
    assert rows["dpo"]["note"] == "it stands on 'reference', which failed"
    assert rows["dpo"]["seconds"] is None and rows["dpo"]["planned_seconds"] is None
    sft = rows["sft"]
    assert (sft["kind"], sft["unit"], sft["on"], sft["micro_batch"]) == ("sft", "step", "cpu", 2)
    assert (sft["strategy"], sft["processes"], sft["largest_micro_batch"]) == ("single", 1, 4)
    assert sft["seconds"] == 0.25 and sft["gigabytes"] == 0.85
    assert 0 < sft["planned_seconds"] < 1 and 0.7 < sft["planned_gigabytes"] < 1


if __name__ == "__main__":
    GOLDEN.write_text(bench(Path(tempfile.mkdtemp())), encoding="utf-8")
