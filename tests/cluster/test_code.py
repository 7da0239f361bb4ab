"""The code that jobs run: frozen whole at submit, named by its content, and run instead of the source."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster import code
from cluster.code import PACKAGES, code_environment, code_files, code_hash, current_code, freeze_code
from results.layout import Workspace

ROOT = Path(__file__).parents[2]
TREES = st.dictionaries(
    st.sampled_from(["results/a.py", "results/b.py", "workers/a.py", "grids/a.yaml"]),
    st.text("ab\n", max_size=4),
    max_size=4,
)


def plant(root: Path, tree: dict[str, str]) -> Path:
    for name, content in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def frozen_files(workspace: Workspace, identity: str) -> dict[str, bytes]:
    root = workspace.code / identity
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small source tree in place of the real one."""
    root = plant(tmp_path / "source", {f"{package}/__init__.py": "" for package in PACKAGES})
    plant(root, {"workers/deep/module.py": "value = 1\n", "grids/study.yaml": "grid: {}\n"})
    monkeypatch.setattr(code, "__file__", str(root / "cluster" / "code.py"))
    return root


def test_everything_that_the_packages_ship_is_frozen() -> None:
    found = {str(path) for path in code_files(ROOT)}
    shipped = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert found == shipped


@settings(max_examples=50, deadline=None)
@given(TREES, TREES)
def test_two_trees_have_one_hash_exactly_when_they_are_equal(
    tmp_path_factory: pytest.TempPathFactory, left: dict[str, str], right: dict[str, str]
) -> None:
    root = tmp_path_factory.mktemp("trees")
    roots = [plant(root / side, tree) for side, tree in (("left", left), ("right", right))]
    hashes = [code_hash(one, code_files(one)) for one in roots]
    assert (hashes[0] == hashes[1]) == (left == right)


def test_what_is_not_code_changes_nothing(source: Path) -> None:
    before = current_code()
    plant(
        source,
        {"workers/__pycache__/a.pyc": "x", "workers/notes.txt~": "x", "docs/a.py": "x", "setup.py": "x"},
    )
    assert current_code() == before
    plant(source, {"workers/deep/module.py": "value = 2\n"})
    assert current_code() != before


def test_a_frozen_copy_holds_the_same_files(source: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "runs")
    identity = freeze_code(workspace)
    assert identity == current_code()
    frozen = frozen_files(workspace, identity)
    assert frozen == {str(path): (source / path).read_bytes() for path in code_files(source)}
    assert code_hash(workspace.code / identity, code_files(workspace.code / identity)) == identity


def test_freezing_again_changes_nothing_and_an_edit_makes_a_copy_beside_it(
    source: Path, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "runs")
    first = freeze_code(workspace)
    made = (workspace.code / first).stat().st_mtime_ns
    assert freeze_code(workspace) == first
    assert (workspace.code / first).stat().st_mtime_ns == made
    plant(source, {"workers/deep/module.py": "value = 2\n"})
    second = freeze_code(workspace)
    assert sorted(path.name for path in workspace.code.iterdir()) == sorted({first, second})
    assert frozen_files(workspace, first)["workers/deep/module.py"] == b"value = 1\n"


def test_many_that_freeze_at_once_leave_one_whole_copy(source: Path, tmp_path: Path) -> None:
    workspace, barrier = Workspace(tmp_path / "runs"), threading.Barrier(6)
    found: list[str] = []

    def freeze() -> None:
        barrier.wait()
        found.append(freeze_code(workspace))

    threads = [threading.Thread(target=freeze) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and len(set(found)) == 1
    assert [path.name for path in workspace.code.iterdir()] == found[:1]
    assert len(frozen_files(workspace, found[0])) == len(code_files(source))


def test_whoever_freezes_second_takes_the_copy_that_is_there(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, copy = Workspace(tmp_path / "runs"), code.shutil.copyfile

    def overtaken(*paths: Path) -> None:
        monkeypatch.setattr("cluster.code.shutil.copyfile", copy)
        freeze_code(workspace)
        copy(*paths)

    monkeypatch.setattr("cluster.code.shutil.copyfile", overtaken)
    identity = freeze_code(workspace)
    assert [path.name for path in workspace.code.iterdir()] == [identity]
    assert len(frozen_files(workspace, identity)) == len(code_files(source))


def test_a_freeze_that_fails_leaves_no_copy_that_counts(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path / "runs")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("cluster.code.shutil.copyfile", full)
        with pytest.raises(OSError, match="No space left"):
            freeze_code(workspace)
    assert not (workspace.code / current_code()).exists()
    assert len(frozen_files(workspace, freeze_code(workspace))) == len(code_files(source))


def test_a_job_runs_the_frozen_code_and_knows_its_name(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "runs")
    identity = freeze_code(workspace)
    script = (
        "import os, results, workers.supervisor as s, cluster.code as c; print(results.__file__, s.__file__, "
        "c.current_code(), os.environ['YATES_CODE'], sep='\\n')"
    )
    environment = {**os.environ, **code_environment(workspace, identity)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    *files, own, told = done.stdout.split()
    assert all(Path(file).is_relative_to(workspace.code / identity) for file in files)
    assert own == told == identity


def test_a_users_own_modules_stay_importable_behind_the_frozen_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/mine", "", str(tmp_path)]))
    paths = code_environment(Workspace(Path("runs")), "abc")["PYTHONPATH"].split(os.pathsep)
    assert paths == [str(tmp_path / "runs" / "code" / "abc"), "/mine", str(tmp_path)]
