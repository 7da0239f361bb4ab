import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from results.files import WorkspaceError
from results.schema import (
    ATTEMPTS,
    CURVES,
    METRICS,
    SAMPLES,
    TABLES,
    VERSION,
    conform,
    experiments_schema,
    read_stages,
    read_table,
    write_curves,
    write_samples,
)


def test_every_schema_names_its_version_and_starts_with_a_text_column():
    for schema in TABLES.values():
        assert schema.metadata[b"yates_schema"] == str(VERSION).encode()
        assert schema.field("stage").type == pa.string()


def test_curves_are_long_and_typed(tmp_path):
    write_curves(tmp_path / "output" / "curves.parquet", [{"step": 1, "name": "loss", "value": 2}])
    table = read_table(tmp_path / "output" / "curves.parquet")
    assert table.schema.types == CURVES.types
    assert table.to_pylist() == [{"stage": None, "step": 1, "name": "loss", "value": 2.0}]


def test_a_curve_may_hold_what_is_not_finite(tmp_path):
    write_curves(tmp_path / "c.parquet", [{"step": 1, "name": "loss", "value": float("inf")}])
    assert read_table(tmp_path / "c.parquet")["value"].to_pylist() == [float("inf")]


def test_no_rows_make_a_valid_file(tmp_path):
    write_samples(tmp_path / "s.parquet", [])
    assert read_table(tmp_path / "s.parquet").schema.names == SAMPLES.names


@pytest.mark.parametrize("row", [{"step": 1, "loss": 2.0}, {"step": "one"}, {"value": "high"}])
def test_a_row_that_does_not_fit_is_refused_and_nothing_is_written(tmp_path, row):
    with pytest.raises(ValueError, match=r"c\.parquet"):
        write_curves(tmp_path / "c.parquet", [row])
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_opens_with_nulls_and_without_what_is_gone():
    old = pa.table({"stage": ["s"], "value": pa.array([1.5], pa.float32()), "colour": ["red"]})
    new = conform(old, METRICS)
    assert new.schema.equals(METRICS)
    assert new.to_pylist()[0]["value"] == 1.5
    assert new.to_pylist()[0]["unit"] is None


def test_reading_some_columns_of_an_older_file(tmp_path):
    pq.write_table(pa.table({"stage": ["s"]}), tmp_path / "m.parquet")
    found = read_table(tmp_path / "m.parquet", METRICS, ["stage", "step"])
    assert found.to_pylist() == [{"stage": "s", "step": None}]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 64 + b"PAR1"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "m.parquet").write_bytes(content)
    with pytest.raises(WorkspaceError, match=r"m\.parquet"):
        read_table(tmp_path / "m.parquet", METRICS)
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "absent.parquet", METRICS)


def test_experiments_have_their_factors_between_the_fixed_columns_and_the_stages():
    schema = experiments_schema({"seed": pa.int64()})
    assert schema.names[-3:] == ["status", "seed", "stages"]


def test_attempts_flatten_their_seconds():
    assert {"seconds_compute", "seconds_load", "seconds_save", "seconds_other"} <= set(ATTEMPTS.names)


@pytest.fixture
def many(tmp_path):
    """Three row groups of metrics, the rows of seven stages in turn."""
    rows = [{"stage": f"s{i % 7}", "task": f"t{i % 3}", "value": float(i), "step": None} for i in range(60)]
    path = tmp_path / "metrics.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=METRICS), path, row_group_size=25)
    return path


@pytest.mark.parametrize("stages", [{"s1"}, {"s0", "s6", "s9"}, set(), {f"s{i}" for i in range(7)}])
def test_rows_of_some_stages_are_those_of_the_whole_table(many, stages):
    columns = ["stage", "task", "value"]
    whole = read_table(many, METRICS, columns)
    expected = [row for row in whole.to_pylist() if row["stage"] in stages]
    found = read_stages(many, METRICS, columns, stages)
    assert found.to_pylist() == expected
    assert found.schema.equals(whole.schema)


def test_rows_of_some_stages_of_an_older_or_damaged_file(tmp_path):
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"stage": ["a", "b"], "value": [1.0, 2.0]}), path)
    found = read_stages(path, METRICS, ["stage", "unit"], {"b"})
    assert found.to_pylist() == [{"stage": "b", "unit": None}]
    path.write_bytes(b"PAR1")
    with pytest.raises(WorkspaceError, match=r"m\.parquet"):
        read_stages(path, METRICS, ["stage"], {"b"})
    with pytest.raises(FileNotFoundError):
        read_stages(tmp_path / "absent.parquet", METRICS, ["stage"], {"b"})
