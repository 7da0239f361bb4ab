"""`yates report`: where it writes, what it says, and what it refuses."""

import pytest

from orchestrator.cli import report
from results.files import WorkspaceError
from results.report import writing
from tests.results.report.lab import LIBRARY, stored


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    """The plotting library takes seconds to bundle; what is written around it is the same."""
    writer = writing.write_report

    def write(*arguments, **options) -> int:
        return writer(*arguments, **options, library=lambda: LIBRARY)

    monkeypatch.setattr(writing, "write_report", write)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("cli") / "runs")


def test_it_writes_the_file_and_says_where(yates, workspace, tmp_path) -> None:
    path = tmp_path / "out.html"
    code, text = yates("report", "-w", workspace.root, "-o", path)
    assert (code, text) == (0, f"wrote {path} ({path.stat().st_size / 1000:.1f} kB)\n")
    assert path.read_text().startswith("<!doctype html>")


def test_several_workspaces_go_into_one_and_the_same_counts_once(yates, workspace, tmp_path) -> None:
    other = stored(tmp_path / "second")
    path = tmp_path / "out.html"
    yates("report", workspace.root, other.root, workspace.root, "-o", path)
    assert "<title>Yates: 24 experiments</title>" in path.read_text()


def test_it_is_shown_on_demand(yates, workspace, tmp_path, monkeypatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(report.typer, "launch", shown.append)
    yates("report", workspace.root, "-o", tmp_path / "out.html", "--open")
    assert shown == [str(tmp_path / "out.html")]


def test_without_samples_none_is_in_the_file(yates, workspace, tmp_path) -> None:
    paths = [tmp_path / "with.html", tmp_path / "without.html"]
    yates("report", workspace.root, "-o", paths[0])
    yates("report", workspace.root, "-o", paths[1], "--no-samples")
    assert paths[1].stat().st_size < paths[0].stat().st_size


def test_mistakes_have_one_message(yates, workspace, tmp_path) -> None:
    with pytest.raises(WorkspaceError, match="there is no workspace here"):
        yates("report", workspace.root, tmp_path / "nowhere")
    with pytest.raises(WorkspaceError, match=r"is a directory; name a file, such as .*report\.html"):
        yates("report", workspace.root, "-o", tmp_path)
    assert yates("report", workspace.root, "--max-mb", "1")[0] == 2


def test_making_a_report_leaves_the_workspace_as_it_was(yates, workspace, tmp_path) -> None:
    def tree() -> dict[str, float]:
        return {str(path): path.stat().st_mtime_ns for path in workspace.root.rglob("*")}

    before = tree()
    yates("report", workspace.root, "-o", tmp_path / "out.html")
    assert tree() == before
