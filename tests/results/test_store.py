import errno
import os
import shutil
import threading
import time
import warnings
from collections import Counter

import pyarrow.parquet as pq
import pytest

import results
from results import generation, schema, store
from results.files import json_bytes
from results.generation import newest
from results.store import compact, rebuild
from tests.results.lab import Lab, attempt, metric


@pytest.fixture
def lab(tmp_path):
    lab = Lab.at(tmp_path)
    names = [f"e{i}" for i in range(6)]
    lab.plan(
        {name: {"seed": i} for i, name in enumerate(names)}, {name: {"eval": f"s-{name}"} for name in names}
    )
    return lab


def rows(lab, table="metrics"):
    """How often each stage appears in a table of the newest generation."""
    return Counter(pq.read_table(newest(lab.workspace).table(table))["stage"].to_pylist())


def generations(lab):
    return sorted(path.name for path in lab.workspace.store.glob("generation-*"))


def test_generations_count_up_and_only_the_last_three_stay(lab):
    for i in range(5):
        lab.run(f"s-e{i}", metric("mmlu", 0.1))
        assert compact(lab.workspace).number == i + 1
    assert generations(lab) == ["generation-000003", "generation-000004", "generation-000005"]
    assert (lab.workspace.store / "latest").readlink().name == "generation-000005"
    assert rows(lab) == {f"s-e{i}": 1 for i in range(5)}
    assert not [path for path in lab.workspace.store.iterdir() if path.name[0] == "."]


def test_nothing_new_makes_no_generation(lab):
    lab.run("s-e0", metric("mmlu", 0.1))
    first = compact(lab.workspace)
    assert compact(lab.workspace) == first
    assert generations(lab) == ["generation-000001"]


def test_a_commit_that_no_journal_closed_is_found_once(lab):
    token = lab.claim("s-e0")
    compact(lab.workspace)
    lab.publish("s-e0", token, [metric("mmlu", 0.1)])
    assert len(results.metrics(lab.workspace)) == 1
    compact(lab.workspace)
    assert rows(lab) == {"s-e0": 1}
    lab.journal.ended(attempt("s-e0", token, "done"))
    compact(lab.workspace)
    assert rows(lab) == rows(lab, "attempts") == {"s-e0": 1}


def test_a_commit_that_was_taken_back_leaves_and_its_successor_comes(lab):
    lab.run("s-e0", metric("mmlu", 0.1))
    lab.run("s-e1", metric("mmlu", 0.2))
    compact(lab.workspace)
    lab.workspace.done_file("s-e0").unlink()
    lab.journal.forgotten("s-e0")
    assert list(results.metrics(lab.workspace).stage) == ["s-e1"]
    compact(lab.workspace)
    assert rows(lab) == {"s-e1": 1}
    lab.run("s-e0", metric("mmlu", 0.3))
    compact(lab.workspace)
    assert sorted(results.metrics(lab.workspace).value) == [0.2, 0.3]


def test_a_loser_of_the_race_to_commit_adds_an_attempt_and_no_metric(lab):
    lab.run("s-e0", metric("mmlu", 0.1))
    token = lab.claim("s-e0")
    assert not lab.publish("s-e0", token, [metric("mmlu", 0.9)])
    lab.journal.ended(attempt("s-e0", token, "superseded", number=2))
    compact(lab.workspace)
    assert results.metrics(lab.workspace).value.to_list() == [0.1]
    assert rows(lab, "attempts") == {"s-e0": 2}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        json_bytes({"stage": "s-e0"}),
        json_bytes({"stage": "other", "attempt": "t", "outcome": "done", "metrics": []}),
        json_bytes({"stage": "s-e0", "attempt": "t", "outcome": "done", "metrics": None}),
        json_bytes({"stage": "s-e0", "attempt": "t", "outcome": "done", "metrics": [{"value": "high"}]}),
        json_bytes({"stage": "s-e0", "attempt": "t", "outcome": "done", "metrics": [1]}),
        json_bytes({"stage": "s-e0", "attempt": "t", "outcome": "done", "metrics": [], "finished": "now"}),
    ],
)
def test_a_damaged_commit_is_named_and_costs_only_itself(lab, content):
    lab.run("s-e1", metric("mmlu", 0.2))
    lab.run("s-e0", metric("mmlu", 0.1))
    path = lab.workspace.done_file("s-e0")
    path.write_bytes(content)
    made = compact(lab.workspace)
    assert list(made.damaged) == [str(path.relative_to(lab.workspace.root))]
    assert rows(lab) == rows(lab, "commits") == {"s-e1": 1}
    path.unlink()
    lab.publish("s-e0", "again", [metric("mmlu", 0.5)])
    assert compact(lab.workspace).damaged == {}
    assert rows(lab) == {"s-e0": 1, "s-e1": 1}


@pytest.mark.parametrize("table", ["curves", "samples"])
def test_damaged_output_is_named_and_read_again_when_it_is_mended(lab, table):
    for stage in ("s-e0", "s-e1"):
        lab.outputs(stage, lab.run(stage, metric("mmlu", 0.1)))
    path = lab.workspace.output("s-e0", "writer-1") / f"{table}.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert list(compact(lab.workspace).damaged) == [str(path.relative_to(lab.workspace.root))]
    assert set(rows(lab, table)) == {"s-e1"}
    assert rows(lab) == {"s-e0": 1, "s-e1": 1}
    path.write_bytes(content)
    assert compact(lab.workspace).damaged == {}
    assert rows(lab) == {"s-e0": 1, "s-e1": 1}
    assert rows(lab, table)["s-e0"] == rows(lab, table)["s-e1"] > 0


def test_a_damaged_plan_is_named_and_costs_only_its_own_experiments(lab):
    (lab.workspace.plans / "bad.json").write_bytes(b"{")
    assert list(compact(lab.workspace).damaged) == ["plans/bad.json"]
    assert len(results.load(lab.workspace)) == 6


def test_the_store_can_be_made_again_without_journals(lab):
    for i in range(3):
        lab.outputs(f"s-e{i}", lab.run(f"s-e{i}", metric("mmlu", 0.1)))
    before = compact(lab.workspace)
    expected = {name: pq.read_table(before.table(name)) for name in before.manifest["tables"]}
    shutil.rmtree(lab.workspace.store)
    shutil.rmtree(lab.workspace.journals)
    after = rebuild(lab.workspace)
    for name, table in expected.items():
        assert pq.read_table(after.table(name)).equals(table), name


@pytest.mark.parametrize("table", ["metrics", "commits", "runs", "attempts"])
def test_a_damaged_generation_is_made_again(lab, table):
    lab.run("s-e0", metric("mmlu", 0.1))
    made = compact(lab.workspace)
    assert made.damaged_tables() == []
    made.table(table).write_bytes(b"PAR1 damaged PAR1")
    assert made.damaged_tables() == [table]
    lab.run("s-e1", metric("mmlu", 0.2))
    assert sorted(results.metrics(lab.workspace).value) == [0.1, 0.2]
    assert results.load(lab.workspace).mmlu.count() == 2
    assert len(results.attempts(lab.workspace)) == 2
    compact(lab.workspace)
    assert rows(lab) == rows(lab, "attempts") == {"s-e0": 1, "s-e1": 1}


def test_a_generation_without_a_readable_manifest_is_passed_over(lab):
    lab.run("s-e0", metric("mmlu", 0.1))
    made = compact(lab.workspace)
    (made.path / "manifest.json").write_bytes(b"{")
    assert results.load(lab.workspace).mmlu.count() == 1
    assert compact(lab.workspace).number == 2
    assert rows(lab) == {"s-e0": 1}


def test_a_full_disk_leaves_the_generation_before_and_no_litter(lab, monkeypatch):
    lab.run("s-e0", metric("mmlu", 0.1))
    compact(lab.workspace)
    lab.run("s-e1", metric("mmlu", 0.2))
    calls = Counter()

    def full(path, number):
        calls["facts"] += 1
        if calls["facts"] == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return generation.table_facts(path, number)

    with monkeypatch.context() as patched:
        patched.setattr(store, "table_facts", full)
        with pytest.raises(OSError, match="No space left"):
            compact(lab.workspace)
    assert [path.name for path in sorted(lab.workspace.store.iterdir())] == ["generation-000001", "latest"]
    assert sorted(results.metrics(lab.workspace).value) == [0.1, 0.2]
    assert compact(lab.workspace).number == 2


def test_whoever_comes_second_discards_its_work(lab, monkeypatch):
    lab.run("s-e0", metric("mmlu", 0.1))
    write = store._write_tables

    def slow(snapshot, directory):
        monkeypatch.setattr(store, "_write_tables", write)
        lab.run("s-e1", metric("mmlu", 0.2))
        assert compact(lab.workspace).number == 1
        return write(snapshot, directory)

    monkeypatch.setattr(store, "_write_tables", slow)
    assert compact(lab.workspace) is None
    assert rows(lab) == {"s-e0": 1, "s-e1": 1}
    assert generations(lab) == ["generation-000001"]


def test_a_link_that_a_crash_left_behind_is_mended(lab):
    compact(lab.workspace)
    lab.run("s-e1", metric("mmlu", 0.2))
    compact(lab.workspace)
    link = lab.workspace.store / "latest"
    link.unlink()
    link.symlink_to("generation-000001")
    compact(lab.workspace)
    assert link.readlink().name == "generation-000002"


def test_litter_of_the_dead_goes_and_that_of_the_living_stays(lab):
    dead, alive = (lab.workspace.store / f".building-{name}" for name in ("dead", "alive"))
    for path in (dead, alive):
        path.mkdir(parents=True)
        (path / "metrics.parquet").touch()
        old = time.time() - 2 * generation.DEAD_AFTER_SECONDS
        os.utime(path / "metrics.parquet", (old, old))
        os.utime(path, (old, old))
    (alive / "curves.parquet").touch()
    compact(lab.workspace)
    assert alive.exists() and not dead.exists()


def test_an_older_generation_that_lacks_a_column_opens_with_nulls(lab, monkeypatch):
    lab.run("s-e0", metric("mmlu", 0.1))
    made = compact(lab.workspace)
    old = pq.read_table(made.table("metrics")).drop_columns(["unit", "n"])
    pq.write_table(old, made.table("metrics"))
    lab.run("s-e1", metric("mmlu", 0.2))
    frame = results.metrics(lab.workspace).set_index("stage")
    assert frame.unit.isna().to_dict() == {"s-e0": True, "s-e1": False}
    compact(lab.workspace)
    assert pq.read_table(newest(lab.workspace).table("metrics")).schema.names == schema.METRICS.names


def test_a_new_schema_version_makes_every_table_again(lab, monkeypatch):
    lab.run("s-e0", metric("mmlu", 0.1))
    compact(lab.workspace)
    monkeypatch.setattr("results.snapshot.VERSION", schema.VERSION + 1)
    assert results.load(lab.workspace).mmlu.count() == 1
    assert compact(lab.workspace).number == 2


def test_a_reader_is_never_disturbed_by_compactors(lab):
    lab.run("s-e0", metric("mmlu", 0.1))
    compact(lab.workspace)
    stop, seen = threading.Event(), []

    def read():
        while not stop.is_set():
            seen.append(results.load(lab.workspace).mmlu.count())

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(1, 6):
        lab.run(f"s-e{i}", metric("mmlu", 0.1))
        compact(lab.workspace)
    stop.set()
    reader.join()
    assert seen == sorted(seen) and seen[-1] <= 6
    assert results.load(lab.workspace).mmlu.count() == 6


def test_a_flipped_bit_in_the_data_is_never_a_wrong_figure(lab):
    """Wherever it falls in the file: what is read is what was committed, from the stages if need be."""
    lab.run("s-e0", metric("mmlu", 0.1))
    made = compact(lab.workspace)
    path = made.table("metrics")
    content = path.read_bytes()
    for place in range(4, len(content) - 8, max(len(content) // 40, 1)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert results.metrics(lab.workspace).value.to_list() == [0.1], place


def test_a_reader_names_the_damaged_file_that_it_does_without(lab):
    lab.run("s-e0", metric("mmlu", 0.1))
    path = compact(lab.workspace).table("metrics")
    path.write_bytes(b"PAR1")
    with pytest.warns(UserWarning, match=r"metrics\.parquet.*not readable.*read from the stages"):
        assert results.metrics(lab.workspace).value.to_list() == [0.1]
    compact(lab.workspace)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert results.metrics(lab.workspace).value.to_list() == [0.1]


def test_a_store_of_an_older_release_opens_with_nulls_and_is_brought_up_to_date(lab):
    """Before samples knew tokens and endings: the generation, its manifest and an attempt's own file lack them."""
    lab.outputs("s-e0", lab.run("s-e0", metric("mmlu", 0.1)))
    made = compact(lab.workspace)
    for path in (made.table("samples"), lab.workspace.output("s-e0", "writer-1") / "samples.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(["tokens", "ended"]), path)
    manifest = {**made.manifest, "schema": schema.VERSION - 1}
    (made.path / "manifest.json").write_bytes(json_bytes(manifest))
    frame = results.samples(lab.workspace)
    assert frame.prompt.to_list() == ["p"] and frame.tokens.isna().all() and frame.ended.isna().all()
    again = compact(lab.workspace)
    assert (again.number, again.manifest["schema"]) == (2, schema.VERSION)
    assert pq.read_table(again.table("samples")).schema.names == schema.SAMPLES.names
    assert results.samples(lab.workspace).tokens.isna().all()


def test_a_commit_of_an_older_release_that_lacks_a_key_has_nulls(lab):
    row = metric("mmlu", 0.1)
    del row["unit"], row["step"]
    lab.run("s-e0", row)
    lab.run("s-e1", metric("mmlu", 0.2, step=7))
    compact(lab.workspace)
    frame = results.metrics(lab.workspace).set_index("stage")
    assert frame.unit.isna().to_dict() == frame.step.isna().to_dict() == {"s-e0": True, "s-e1": False}
