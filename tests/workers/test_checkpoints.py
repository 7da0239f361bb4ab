import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.layout import Workspace
from workers.checkpoints import (
    MANIFEST,
    checkpoint_name,
    new_checkpoint,
    newest_checkpoint,
    newest_of,
    set_aside,
    verify_checkpoint,
)


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


@given(st.lists(st.integers(0, 999_999), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_whatever_the_order_of_saving_the_highest_steps_stay(tmp_path_factory, steps):
    """A resumed stage may save lower steps than a damaged attempt before it had reached."""
    directory = tmp_path_factory.mktemp("checkpoints")
    kept: list[int] = []
    for step in steps:
        write(directory, step)
        kept = sorted({*kept, step})[-2:]
        assert sorted(int(path.name) for path in directory.iterdir()) == kept
    assert newest_of(list(directory.iterdir())).name == checkpoint_name(max(kept))


def test_checkpoints_beyond_a_million_steps_are_the_newest(tmp_path):
    for step in (999_998, 999_999, 1_000_000):
        write(tmp_path, step)
    assert (tmp_path / checkpoint_name(1_000_000)).exists()


def test_half_written_checkpoints_of_a_killed_worker_are_not_looked_at(tmp_path):
    workspace = Workspace(tmp_path)
    checkpoints = workspace.attempt("ab12", "one") / "checkpoints"
    write(checkpoints, 10)
    half = checkpoints / ".000020.abcdef"
    half.mkdir()
    (half / "state.json").write_text("{}")
    assert newest_checkpoint(workspace, "ab12").name == "000010"
    assert half.exists()


def test_when_every_checkpoint_is_damaged_the_stage_starts_anew(tmp_path):
    workspace = Workspace(tmp_path)
    for token in ("one", "two"):
        (write(workspace.attempt("ab12", token) / "checkpoints", 10) / "state.json").unlink()
    assert newest_checkpoint(workspace, "ab12") is None
    assert len(list(workspace.attempts("ab12").glob("*/checkpoints/damaged-*"))) == 2
    assert newest_checkpoint(workspace, "ab12") is None


def test_of_two_that_set_the_same_one_aside_both_go_on(tmp_path):
    checkpoint = write(tmp_path, 10)
    set_aside(checkpoint)
    set_aside(checkpoint)
    assert [path.name[:14] for path in tmp_path.iterdir()] == ["damaged-000010"]


def test_a_full_disk_leaves_the_older_checkpoint_usable(tmp_path, monkeypatch):
    before = write(tmp_path, 10)

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("workers.checkpoints.write_atomic", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, 20)
    assert list(tmp_path.iterdir()) == [before]
    assert verify_checkpoint(before) is None
