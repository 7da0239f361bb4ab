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
