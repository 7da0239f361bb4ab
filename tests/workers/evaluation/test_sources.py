import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.evaluation.examinee import SOURCE
from workers.context import BadInput
from workers.evaluation.sources import locate, required, spread
from workers.specs.data import DataSource


@given(st.integers(0, 60), st.none() | st.integers(1, 60))
def test_a_limit_is_spread_over_the_rows(count, limit):
    rows = list(range(count))
    chosen = spread(rows, limit)
    assert len(chosen) == min(count, limit if limit is not None else count)
    assert chosen == sorted(set(chosen))
    gaps = [after - before for before, after in itertools.pairwise(chosen)]
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_a_world_is_written_once(candidate):
    first = locate(SOURCE, candidate.context)
    assert first.file("mmlu/test.jsonl").is_file()
    assert locate(SOURCE, candidate.context) == first
    assert locate(SOURCE, candidate.context).key() == first.key()


def test_a_hub_id_is_mapped(candidate, tmp_path):
    candidate.context.hub_map["some/set"] = str(tmp_path)
    assert locate(DataSource(hub="some/set"), candidate.context).directory == tmp_path


def test_a_map_to_nowhere_is_an_error(candidate, tmp_path):
    candidate.context.hub_map["some/set"] = str(tmp_path / "absent")
    with pytest.raises(BadInput, match="does not exist"):
        locate(DataSource(hub="some/set"), candidate.context)


def test_a_source_must_name_something(candidate):
    with pytest.raises(BadInput, match="needs `world` or `hub`"):
        locate(DataSource(), candidate.context)


def test_the_key_follows_the_files(candidate, tmp_path):
    source = DataSource(hub=str(tmp_path))
    before = locate(source, candidate.context).key()
    (tmp_path / "rows.jsonl").write_text("{}\n")
    assert locate(source, candidate.context).key() != before


def test_fields_are_checked_without_their_text():
    with pytest.raises(BadInput, match="row 2 has no usable 'text'") as error:
        required([{"text": "fine"}, {"text": None, "other": "offensive"}], {"text": str}, "set")
    assert "offensive" not in str(error.value)
    with pytest.raises(BadInput, match="has no rows"):
        required([], {"text": str}, "set")
