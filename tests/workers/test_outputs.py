"""Outputs are digested by name and content, so that whatever changes later is found."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.outputs import digest_of, file_digest, output_files, seal

PATHS = st.lists(st.text("abc", min_size=1, max_size=2), min_size=1, max_size=2).map("/".join)
TREES = st.dictionaries(PATHS, st.binary(max_size=6), max_size=4).filter(
    lambda tree: not any(name.startswith(f"{other}/") for name in tree for other in tree)
)
EMPTY = hashlib.sha256().hexdigest()


def plant(root: Path, tree: dict[str, bytes]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, content in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@settings(max_examples=40, deadline=None)
@given(TREES, TREES)
def test_two_outputs_have_one_digest_exactly_when_they_are_equal(
    tmp_path_factory: pytest.TempPathFactory, left: dict[str, bytes], right: dict[str, bytes]
) -> None:
    root = tmp_path_factory.mktemp("outputs")
    digests = [seal(plant(root / side, tree)) for side, tree in (("left", left), ("right", right))]
    assert (digests[0] == digests[1]) == (left == right)


@settings(max_examples=40, deadline=None)
@given(TREES)
def test_verifying_gives_what_sealing_gave(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, bytes]
) -> None:
    root = plant(tmp_path_factory.mktemp("outputs") / "output", tree)
    assert seal(root) == digest_of(root) == seal(root)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "model" / "weights").write_bytes(b"weightX"),
        lambda root: (root / "model" / "weights").write_bytes(b"weights."),
        lambda root: (root / "model" / "weights").rename(root / "model" / "weight"),
        lambda root: (root / "model" / "weights").rename(root / "weights"),
        lambda root: (root / "curves").unlink(),
        lambda root: (root / "model" / "empty").touch(),
        lambda root: (root / "model" / "snapshots").mkdir() or (root / "model" / "snapshots" / "a").touch(),
    ],
)
def test_any_change_changes_the_digest(tmp_path: Path, change: object) -> None:
    root = plant(tmp_path / "output", {"model/weights": b"weights", "curves": b"1"})
    before = seal(root)
    change(root)  # type: ignore[operator]
    assert digest_of(root) != before


def test_snapshots_may_come_and_go(tmp_path: Path) -> None:
    root = plant(tmp_path / "output", {"model/weights": b"weights"})
    before = seal(root)
    plant(root, {"snapshots/000100/adapter": b"a"})
    assert digest_of(root) == before
    assert [path.name for path in output_files(root)] == ["weights"]


def test_an_output_that_holds_nothing_has_the_digest_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert seal(tmp_path / "empty") == digest_of(tmp_path / "missing") == EMPTY


def test_a_seal_waits_for_the_disk_and_a_verification_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = plant(tmp_path / "output", {"a": b"1", "b/c": b"2"})
    synced, sync = [], os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: (synced.append(os.fstat(descriptor).st_ino), sync(descriptor))
    )
    digest_of(root)
    assert synced == []
    seal(root)
    assert set(synced) == {path.stat().st_ino for path in (root, root / "a", root / "b" / "c")}


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=5000))
def test_the_digest_of_a_file_is_sha256(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("file") / "file"
    path.write_bytes(content)
    assert file_digest(path) == file_digest(path, sync=True) == hashlib.sha256(content).hexdigest()
