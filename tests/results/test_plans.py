import dataclasses
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.files import WorkspaceError
from results.layout import Workspace
from results.plans import plan_marks, read_plans, write_plan
from results.records import StageRow
from tests.results.lab import plan

LEVELS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-9, 9),
    st.floats(0, 1),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=2),
)


@given(st.lists(st.tuples(LEVELS, LEVELS), max_size=8))
def test_a_plan_reads_back_as_it_was_written(tmp_path_factory, levels):
    workspace = Workspace(tmp_path_factory.mktemp("plans"))
    experiments = {f"e{i}": {"method": first, "seed": second} for i, (first, second) in enumerate(levels)}
    record = plan(
        experiments, {name: {"sft": "s", "eval": f"v{name}"} for name in experiments}, {}, created=5.0
    )
    write_plan(workspace, record)
    (found,) = read_plans(workspace)
    assert found == record
    assert [[type(level) for level in row.levels] for row in found.experiments] == [
        [type(level) for level in row.levels] for row in record.experiments
    ]


def test_an_equal_plan_is_one_file_and_submitting_it_again_makes_it_the_newest(tmp_path):
    workspace = Workspace(tmp_path)
    first = plan({"a": {"seed": 1}}, {"a": {"eval": "s1"}}, created=1.0)
    other = plan({"a": {"seed": 1}}, {"a": {"eval": "s2"}}, created=2.0)
    digest = write_plan(workspace, first)
    write_plan(workspace, other)
    assert [found.stages[0].stage for found in read_plans(workspace)] == ["s1", "s2"]
    marks = plan_marks(workspace)
    assert write_plan(workspace, dataclasses.replace(first, created=3.0)) == digest
    assert [found.stages[0].stage for found in read_plans(workspace)] == ["s2", "s1"]
    assert plan_marks(workspace) != marks


def test_a_plan_without_a_time_is_stamped_when_it_is_written(tmp_path):
    write_plan(Workspace(tmp_path), plan({}, {}))
    assert read_plans(Workspace(tmp_path))[0].created > 1e9


def test_a_child_before_its_parent_is_refused(tmp_path):
    record = plan({"a": {}}, {"a": {"eval": "s1"}})
    record.stages[0] = StageRow("s1", "evaluate", (0,), "cpu", "", 1.0)
    with pytest.raises(ValueError, match="parents must come before"):
        write_plan(Workspace(tmp_path), record)


def test_an_index_that_points_nowhere_is_refused(tmp_path):
    record = plan({"a": {}}, {"a": {"eval": "s1"}})
    record.stages.clear()
    with pytest.raises(ValueError, match="does not hold"):
        write_plan(Workspace(tmp_path), record)


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"study": "x"}'])
def test_a_damaged_plan_is_named_or_handed_over(tmp_path, content):
    workspace = Workspace(tmp_path)
    write_plan(workspace, plan({"a": {}}, {"a": {"eval": "s1"}}))
    bad = workspace.plans / "bad.json"
    bad.write_bytes(content)
    with pytest.raises(WorkspaceError, match=r"bad\.json"):
        read_plans(workspace)
    seen = []
    assert len(read_plans(workspace, lambda path, reason: seen.append(path))) == 1
    assert seen == [bad]


def test_the_graphs_can_be_read_alone(tmp_path):
    record = plan({"a": {"seed": 1}}, {"a": {"eval": "s1"}}, created=1.0)
    write_plan(Workspace(tmp_path), record)
    (found,) = read_plans(Workspace(tmp_path), levels=False)
    assert (found.factors, found.experiments[0].levels) == ((), ())
    assert (found.stages, found.experiments[0].stages) == (record.stages, record.experiments[0].stages)


def test_no_plans_is_an_empty_list(tmp_path):
    assert read_plans(Workspace(tmp_path)) == []


def test_status_and_plans_import_neither_pandas_nor_pyarrow():
    code = (
        "import sys, results, results.plans, results.status, results.journal\n"
        "assert not {'pandas', 'pyarrow', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
