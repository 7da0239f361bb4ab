import json

import pytest

from results.layout import Workspace
from workers.checkpoints import MANIFEST, new_checkpoint, newest_checkpoint, newest_of, verify_checkpoint


def write(directory, step: int, content: bytes = b"weights"):
    with new_checkpoint(directory, step) as private:
        (private / "model").mkdir()
        (private / "model" / "weights").write_bytes(content)
        (private / "state.json").write_text("{}")
    return directory / f"{step:06d}"


def test_a_checkpoint_lists_what_it_holds(tmp_path):
    checkpoint = write(tmp_path, 30)
    listed = json.loads((checkpoint / MANIFEST).read_text())["files"]
    assert sorted(listed) == ["model/weights", "state.json"]
    assert listed["model/weights"]["bytes"] == 7
    assert verify_checkpoint(checkpoint) is None


def test_a_checkpoint_that_was_not_finished_does_not_appear(tmp_path):
    with pytest.raises(OSError, match="full"), new_checkpoint(tmp_path, 1) as private:
        (private / "half").write_bytes(b"x")
        raise OSError("disk full")
    assert list(tmp_path.iterdir()) == []


def test_the_newest_two_are_kept(tmp_path):
    for step in (10, 20, 30):
        write(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000020", "000030"]


def test_the_same_step_again_replaces_it(tmp_path):
    write(tmp_path, 10, b"first")
    assert (write(tmp_path, 10, b"second") / "model" / "weights").read_bytes() == b"second"
    assert [path.name for path in tmp_path.iterdir()] == ["000010"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: (path / "state.json").write_text("{ }"), "3 bytes, not 2"),
        (lambda path: (path / "model" / "weights").write_bytes(b"weightX"), "checksum"),
        (lambda path: (path / "model" / "weights").unlink(), "weights is missing"),
        (lambda path: (path / MANIFEST).unlink(), "MANIFEST.json is missing"),
        (lambda path: (path / MANIFEST).write_text("{"), "cannot be read"),
        (lambda path: (path / MANIFEST).write_text("[]"), "cannot be read"),
    ],
)
def test_damage_is_found_and_the_one_before_is_used(tmp_path, damage, reason):
    before, newest = write(tmp_path, 10), write(tmp_path, 20)
    damage(newest)
    assert reason in verify_checkpoint(newest)
    assert newest_of([before, newest]) == before
    assert not newest.exists()
    assert next(tmp_path.glob("damaged-*")).name.startswith("damaged-000020")


def test_the_newest_of_any_attempt(tmp_path):
    workspace = Workspace(tmp_path)
    assert newest_checkpoint(workspace, "ab12") is None
    for token, step in (("one", 10), ("two", 40), ("three", 20)):
        write(workspace.attempt("ab12", token) / "checkpoints", step)
    assert newest_checkpoint(workspace, "ab12").name == "000040"
