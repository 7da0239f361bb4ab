"""Files that appear whole or not at all."""

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results import files
from results.files import (
    WorkspaceError,
    json_bytes,
    parse_record,
    publish_once,
    read_json,
    read_json_or_none,
    write_atomic,
)

ROOT = Path(__file__).parents[2]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@settings(max_examples=50, deadline=None)
@given(JSON)
def test_what_is_written_reads_back_equal(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("json") / "deep" / "value.json"
    write_atomic(path, json_bytes(value))
    assert read_json(path) == value
    assert names(path.parent) == ["value.json"]


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=4), JSON, max_size=6))
def test_equal_values_give_equal_bytes(value: dict[str, object]) -> None:
    assert json_bytes(value) == json_bytes(dict(reversed(value.items())))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [-float("inf")]}])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_bytes(value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"a": 1} x'])
def test_a_damaged_file_is_named_and_its_mending_too(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "stage.json"
    path.write_bytes(content)
    with pytest.raises(WorkspaceError, match=r"stage\.json.*yates verify --repair"):
        read_json(path)
    with pytest.raises(WorkspaceError):
        read_json_or_none(path)


def test_a_missing_file_is_no_damage(tmp_path: Path) -> None:
    assert read_json_or_none(tmp_path / "none.json") is None
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")


def test_the_later_write_replaces_the_earlier(tmp_path: Path) -> None:
    for content in (b"first, and longer", b"second"):
        write_atomic(tmp_path / "a", content)
    assert (tmp_path / "a").read_bytes() == b"second"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_content_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"old")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), full)
        with pytest.raises(OSError, match="No space left"):
            write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_content_is_synced_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    sync, replace, link = os.fsync, Path.replace, os.link
    monkeypatch.setattr(os, "fsync", lambda d: (order.append("sync"), sync(d)))
    monkeypatch.setattr(Path, "replace", lambda old, new: (order.append("name"), replace(old, new)))
    monkeypatch.setattr(os, "link", lambda old, new: (order.append("name"), link(old, new)))
    write_atomic(tmp_path / "a", b"x")
    publish_once(tmp_path / "b", b"x")
    assert order == ["sync", "name", "sync", "name"]


def test_only_the_first_publication_counts(tmp_path: Path) -> None:
    assert publish_once(tmp_path / "claims" / "1", b"first") is True
    assert publish_once(tmp_path / "claims" / "1", b"second") is False
    assert (tmp_path / "claims" / "1").read_bytes() == b"first"
    assert names(tmp_path / "claims") == ["1"]


def test_of_many_publishers_exactly_one_wins_and_its_content_stands(tmp_path: Path) -> None:
    barrier, told = threading.Barrier(12), {}

    def publish(number: int) -> None:
        barrier.wait()
        told[number] = publish_once(tmp_path / "done.json", str(number).encode())

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [number for number, won in told.items() if won] == [int((tmp_path / "done.json").read_text())]
    assert names(tmp_path) == ["done.json"]


def test_a_link_that_was_made_but_reported_as_failed_counts_as_won(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def over_a_bad_network(old: Path, new: Path) -> None:
        link(old, new)
        raise FileExistsError

    monkeypatch.setattr(os, "link", over_a_bad_network)
    assert publish_once(tmp_path / "a", b"x") is True
    assert names(tmp_path) == ["a"]


def test_readers_never_see_a_part_while_a_writer_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    code = (
        "import sys; from pathlib import Path; from results.files import *\n"
        "n = 0\n"
        "while True: n += 1; write_atomic(Path(sys.argv[1]), json_bytes({'n': n, 'pad': str(n) * 20000}))"
    )
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT)
        try:
            seen = [read_json_or_none(path) for _ in range(200)]
            while not path.exists():
                pass
        finally:
            writer.kill()
            writer.wait()
        seen.append(read_json(path))
        assert all(value["pad"] == str(value["n"]) * 20000 for value in seen if value is not None)


def test_a_directory_that_cannot_be_synced_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "fsync of directories is not offered here")

    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    monkeypatch.setattr(os, "fsync", unsupported)
    files.sync_directory(tmp_path)
    assert (len(os.listdir("/proc/self/fd")) if before else 0) == before


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1), st.text())
def test_a_record_is_read_as_it_was_written(number: float, whole: int, text: str) -> None:
    content = json_bytes({"number": number, "whole": whole, text: [None, True, text]})
    assert repr(parse_record(content)) == repr(json.loads(content))


@pytest.mark.parametrize("content", [b'{"a": NaN}', b'["\\ud800"]', b"-Infinity"])
def test_what_the_faster_reader_refuses_is_read_too(content: bytes) -> None:
    assert repr(parse_record(content)) == repr(json.loads(content))


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1} x', b"\xff"])
def test_what_is_no_record_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError):
        parse_record(content)
