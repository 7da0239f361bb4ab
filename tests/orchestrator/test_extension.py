"""The worked example of docs/extending.md: a user's own data, benchmark and stage kind."""

import shutil
import subprocess
from pathlib import Path

import results
from tests.support.commands import ROOT, command

EXAMPLES = ROOT / "docs" / "examples"


def test_the_example_of_the_docs_runs_from_its_own_folder(tmp_path: Path) -> None:
    for name in ("lab.py", "lab.yaml"):
        shutil.copy(EXAMPLES / name, tmp_path / name)
    done = subprocess.run(
        command("run", "lab.yaml"), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    frame = results.load(tmp_path / "runs")
    assert set(frame["status"]) == {"done"} and len(frame) == 4
    assert frame["answer_length"].between(1, 24).all()
    assert (frame.loc[frame["share"] == 0.9, "prune"] > 0.85).all()
    assert len(results.attempts(tmp_path / "runs").query("kind == 'sft'")) == 2


def test_the_page_shows_the_code_of_the_example() -> None:
    page, code = (ROOT / "docs" / "extending.md").read_text(), (EXAMPLES / "lab.py").read_text()
    blocks = page.split("```python\n")[1].split("```")[0].strip().split("\n\n")
    assert all(block.strip() in code for block in blocks)


def test_the_tutorial_grid_of_the_docs_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "grids.md").read_text().split("```yaml\n")[1].split("```")[0]
    (tmp_path / "tutorial.yaml").write_text(text)
    done = subprocess.run(
        command("run", "tutorial.yaml"), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    frame = results.load(tmp_path / "runs")
    assert len(frame) == 4 and frame["perplexity"].nunique() == 4
