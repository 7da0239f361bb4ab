"""The tutorial's commands, run one after another as they stand there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.commands import command as command_line

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "tutorial.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("yates ")
]
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a reader stands: a folder with the grids, and no workspace yet."""
    (tmp_path / "grids").symlink_to(ROOT / "grids")
    return tmp_path


def call(folder: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, timeout=600, check=False
    )
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.timeout(900)
def test_a_reader_gets_from_nothing_to_a_report(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {command: call(folder, *command_line(*shlex.split(command)[1:])) for command in COMMANDS}
    spoken = {shlex.split(command)[1]: text for command, text in said.items()}
    assert {"plan", "run", "resume", "status", "results", "table", "findings", "report"} <= spoken.keys()
    assert "8 done" in spoken["status"]
    assert "dpo" in spoken["results"] and "sft" in spoken["results"]
    assert "T5" in spoken["table"] and "verdict" in spoken["findings"]
    assert "<html" in (folder / "first.html").read_text()[:500].lower()
    for block in PYTHON:
        call(folder, sys.executable, "-c", block)
    run_notebook(folder, monkeypatch)


def run_notebook(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Execute the notebook of the documentation on the tutorial's workspace."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "docs" / "analysis.ipynb", 4)
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=300, startup_timeout=300, resources=place).execute()
    shown = [each for cell in notebook.cells for each in cell.get("outputs", ())]
    assert len(shown) >= 5 and any("image/png" in each.get("data", {}) for each in shown)


def test_the_notebook_is_kept_without_its_outputs() -> None:
    notebook = nbformat.read(ROOT / "docs" / "analysis.ipynb", 4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
