"""Generations: whole directories that appear by one rename, counted, kept and swept."""

import threading
from pathlib import Path
from typing import Any

import pytest

from results.files import read_json
from results.generation import (
    DEAD_AFTER_SECONDS,
    KEPT_BEFORE_LATEST,
    Generation,
    Manifest,
    building,
    newest,
    next_number,
    point_latest,
    publish,
    sweep,
    table_facts,
)
from results.layout import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def manifest(number: int, **tables: Any) -> Manifest:
    empty: Any = {"plans": {}, "offsets": {}, "open": {}, "endings": {}, "revisit": [], "damaged": {}}
    return {**empty, "number": number, "schema": 1, "stages": 0, "tables": tables}


def make(workspace: Workspace, number: int, content: bytes = b"rows") -> Generation | None:
    with building(workspace) as directory:
        (directory / "metrics.parquet").write_bytes(content)
        facts = table_facts(directory / "metrics.parquet", 3)
        return publish(workspace, directory, manifest(number, metrics=facts))


def names(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in workspace.store.iterdir())


def test_an_empty_workspace_has_none_and_counts_from_one(workspace: Workspace) -> None:
    assert newest(workspace) is None
    assert next_number(workspace) == 1
    point_latest(workspace)
    assert not workspace.store.exists()


def test_a_published_generation_is_the_newest_and_whole(workspace: Workspace) -> None:
    made = make(workspace, 1)
    assert made == newest(workspace)
    assert made is not None and made.table("metrics").read_bytes() == b"rows"
    assert made.manifest["tables"]["metrics"] == {
        "rows": 3,
        "bytes": 4,
        "sha256": table_facts(made.table("metrics"), 0)["sha256"],
    }
    assert made.damaged_tables() == []
    assert read_json(made.path / "manifest.json")["number"] == 1
    assert names(workspace) == ["generation-000001"]


def test_a_number_that_is_taken_is_not_taken_again(workspace: Workspace) -> None:
    make(workspace, 1, b"first")
    assert make(workspace, 1, b"second") is None
    found = newest(workspace)
    assert found is not None and found.table("metrics").read_bytes() == b"first"
    assert names(workspace) == ["generation-000001"]


def test_of_many_that_publish_one_number_exactly_one_succeeds(workspace: Workspace) -> None:
    barrier, made = threading.Barrier(8), []

    def compete(content: bytes) -> None:
        barrier.wait()
        made.append((content, make(workspace, 1, content)))

    threads = [threading.Thread(target=compete, args=(b"%d" % number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [(content, found) for content, found in made if found is not None]
    assert winner[1].table("metrics").read_bytes() == winner[0]
    assert winner[1].damaged_tables() == []


def test_a_build_that_fails_leaves_nothing(workspace: Workspace) -> None:
    with pytest.raises(RuntimeError, match="half way"), building(workspace) as directory:
        (directory / "metrics.parquet").write_bytes(b"half")
        raise RuntimeError("half way")
    assert names(workspace) == []


def test_numbers_are_compared_as_numbers(workspace: Workspace) -> None:
    for number in (999_999, 1_000_000):
        make(workspace, number)
    found = newest(workspace)
    assert found is not None and found.number == 1_000_000
    assert next_number(workspace) == 1_000_001
    point_latest(workspace)
    assert (workspace.store / "latest").readlink() == Path("generation-1000000")
    sweep(workspace, 0.0)
    assert "generation-1000000" in names(workspace)


def test_what_merely_looks_like_a_generation_is_not_counted(workspace: Workspace) -> None:
    make(workspace, 2)
    for name in ("generation-000009.old", "generation-9", "old-generation-000009", ".building-000009"):
        (workspace.store / name).mkdir()
    assert next_number(workspace) == 3


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff"])
def test_an_unreadable_one_is_passed_over_and_its_number_not_reused(
    workspace: Workspace, content: bytes | None
) -> None:
    make(workspace, 1)
    made = make(workspace, 2)
    assert made is not None
    path = made.path / "manifest.json"
    path.unlink() if content is None else path.write_bytes(content)
    found = newest(workspace)
    assert found is not None and found.number == 1
    assert next_number(workspace) == 3


def test_the_link_follows_the_highest_and_mends_whatever_it_was(workspace: Workspace) -> None:
    link = workspace.store / "latest"
    for number in (1, 2):
        make(workspace, number)
    point_latest(workspace)
    assert link.readlink() == Path("generation-000002")
    for wrong in ("generation-000001", "generation-000077"):
        link.unlink()
        link.symlink_to(wrong)
        point_latest(workspace)
        assert link.resolve() == (workspace.store / "generation-000002").resolve()
    link.unlink()
    link.write_text("a plain file")
    point_latest(workspace)
    assert link.is_symlink()
    assert names(workspace) == ["generation-000001", "generation-000002", "latest"]


def test_the_link_works_from_wherever_the_workspace_is_moved_to(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "here")
    make(workspace, 1)
    point_latest(workspace)
    (tmp_path / "here").rename(tmp_path / "there")
    assert (tmp_path / "there" / "store" / "latest" / "metrics.parquet").read_bytes() == b"rows"


def test_the_newest_few_stay_for_readers(workspace: Workspace) -> None:
    for number in range(1, 8):
        make(workspace, number)
    point_latest(workspace)
    sweep(workspace, 0.0)
    kept = [f"generation-{number:06d}" for number in range(7 - KEPT_BEFORE_LATEST, 8)]
    assert names(workspace) == [*kept, "latest"]
    sweep(workspace, 0.0)
    assert names(workspace) == [*kept, "latest"]


@pytest.mark.parametrize(("age", "left"), [(DEAD_AFTER_SECONDS - 60, True), (DEAD_AFTER_SECONDS + 60, False)])
def test_litter_is_swept_by_the_file_systems_own_clock(workspace: Workspace, age: float, left: bool) -> None:
    made = make(workspace, 1)
    assert made is not None
    building_site, link = workspace.store / ".building-abc", workspace.store / ".latest-abc"
    building_site.mkdir()
    (building_site / "metrics.parquet").touch()
    link.symlink_to("generation-000001")
    sweep(workspace, link.lstat().st_mtime + age)
    assert (building_site.exists(), link.is_symlink()) == (left, left)
    assert made.path.exists()


def test_a_table_that_lost_or_changed_bytes_is_told(workspace: Workspace) -> None:
    made = make(workspace, 1)
    assert made is not None
    made.table("metrics").write_bytes(b"rowz")
    assert made.damaged_tables() == ["metrics"]
    made.table("metrics").unlink()
    assert made.damaged_tables() == ["metrics"]


def test_a_store_that_cannot_be_written_is_an_error_and_not_a_lost_race(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(old: Path, new: Path) -> None:
        raise PermissionError(13, "denied")

    with building(workspace) as directory:
        monkeypatch.setattr(Path, "rename", refused)
        with pytest.raises(PermissionError):
            publish(workspace, directory, manifest(1))
    assert newest(workspace) is None
