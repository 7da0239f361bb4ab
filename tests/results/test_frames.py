import json
import subprocess
import sys

import duckdb
import pandas as pd
import polars
import pyarrow.parquet as pq
import pytest

import results
from results.store import compact
from tests.results.lab import Lab, metric

EXPERIMENTS = {
    "a": {"method": "dpo", "seed": 0, "rank": 8, "lr": 1e-4, "task": "x"},
    "b": {"method": "sft", "seed": 1, "rank": "full", "lr": 1, "packing": True},
}
PIPELINES = {"a": {"sft": "base", "eval": "eval-a"}, "b": {"sft": "base", "eval": "eval-b"}}
PARENTS = {"eval-a": ["base"], "eval-b": ["base"]}


@pytest.fixture(params=["compacted", "fresh", "half", "patched"])
def lab(request, tmp_path):
    """The same facts, in the store, still in the stages, or on their way from one to the other."""
    lab = Lab.at(tmp_path / "runs")
    if request.param != "patched":
        lab.plan(EXPERIMENTS, PIPELINES, PARENTS)
    lab.outputs("base", "writer-1")
    lab.run("base", metric("train", 2.0, "loss"))
    if request.param == "half":
        compact(lab.workspace)
    if request.param == "patched":
        lab.plan(EXPERIMENTS, PIPELINES, PARENTS)
        lab.claim("eval-a")
        compact(lab.workspace)
        compact(lab.workspace)
    lab.run("eval-a", metric("mmlu", 0.4), metric("mmlu", 9.0, "seconds", primary=False))
    if request.param == "compacted":
        compact(lab.workspace)
    return lab


def test_one_row_per_experiment(lab):
    frame = results.load(lab.workspace.root).set_index("experiment")
    assert list(frame.index) == ["a", "b"]
    row = frame.loc["a"]
    assert (row["name"], row.study, row.scale, row.preset) == ("name of a", "alignment", "tiny", "corrected")
    assert (row.mmlu, row["mmlu.stderr"], row["mmlu.seconds"]) == (0.4, 0.5, 9.0)
    assert frame.status.to_dict() == {"a": "done", "b": "pending"}
    assert frame.train.to_dict() == {"a": 2.0, "b": 2.0}
    assert pd.isna(frame.loc["b", "mmlu"])


def test_levels_keep_their_types(lab):
    frame = results.load(lab.workspace).set_index("experiment")
    assert frame.seed.dtype == "int64"
    assert frame["rank"].to_list() == ["8", "full"]
    assert frame.lr.to_list() == [1e-4, 1.0]
    assert frame.packing.isna().to_dict() == {"a": True, "b": False}
    assert frame.packing["b"] == "true"


def test_the_columns_do_not_depend_on_where_the_facts_are(lab):
    assert list(results.load(lab.workspace).columns) == [
        *("experiment", "name", "study", "scale", "preset", "status"),
        *("method", "seed", "rank", "lr", "task", "packing"),
        *("mmlu", "mmlu.seconds", "mmlu.stderr", "train", "train.stderr"),
    ]


def test_where_selects(lab):
    assert list(results.load(lab.workspace, 'method == "dpo" and seed in (0,)').experiment) == ["a"]
    assert results.metrics(lab.workspace, "value > 100").empty


def test_a_shared_stage_stands_under_each_experiment(lab):
    frame = results.metrics(lab.workspace)
    assert list(frame.columns) == [
        *("experiment", "study", "role", "stage", "kind", "task", "metric"),
        *("value", "stderr", "n", "step", "unit", "primary"),
    ]
    found = sorted(zip(frame.experiment, frame.role, frame.task, frame.metric, strict=True))
    assert found == [
        ("a", "eval", "mmlu", "accuracy"),
        ("a", "eval", "mmlu", "seconds"),
        ("a", "sft", "train", "loss"),
        ("b", "sft", "train", "loss"),
    ]


def test_curves_and_samples_carry_stage_and_experiment(lab):
    curves = results.curves(lab.workspace)
    assert sorted(zip(curves.experiment, curves.step, strict=True)) == [
        ("a", 0),
        ("a", 1),
        ("b", 0),
        ("b", 1),
    ]
    assert set(curves.stage) == {"base"}
    assert list(results.samples(lab.workspace).completion) == ["c", "c"]


def test_attempts_appear_once_each(lab):
    lab.fail("eval-b", "hung")
    frame = results.attempts(lab.workspace).sort_values("token")
    assert list(zip(frame.stage, frame.ending, strict=True))[-1] == ("eval-b", "hung")
    assert sorted(frame.stage) == ["base", "eval-a", "eval-b"]
    assert frame.seconds_compute.sum() == 18.0
    assert json.loads(frame.fingerprint.iloc[0]) == {"gpu": "none"}
    assert results.load(lab.workspace).set_index("experiment").status["b"] == "failed"


def test_experiments_name_their_stages(lab):
    frame = results.experiments(lab.workspace).set_index("experiment")
    assert json.loads(frame.stages["b"]) == PIPELINES["b"]
    assert frame.grid["a"] == "grids/alignment.yaml"


def test_the_largest_step_counts_and_no_step_is_the_last(tmp_path):
    lab = Lab.at(tmp_path)
    roles = {"early": "s1", "late": "s2", "final": "s3"}
    lab.plan({"a": {}}, {"a": roles})
    lab.run("s2", metric("mmlu", 0.2, step=200))
    lab.run("s1", metric("mmlu", 0.1, step=100))
    assert results.load(tmp_path).mmlu[0] == 0.2
    compact(lab.workspace)
    lab.run("s3", metric("mmlu", 0.05))
    assert results.load(tmp_path).mmlu[0] == 0.05
    assert len(results.metrics(tmp_path)) == 3
    assert results.metrics(tmp_path).step.dtype == "Int64"


def test_a_task_whose_name_a_factor_has_keeps_its_long_name(tmp_path):
    lab = Lab.at(tmp_path)
    lab.plan({"a": {"mmlu": "on", "status": 3}}, {"a": {"eval": "s1"}})
    lab.run("s1", metric("mmlu", 0.2))
    frame = results.load(tmp_path)
    assert frame.mmlu[0] == "on"
    assert frame["mmlu.accuracy"][0] == 0.2
    assert (frame["factor.status"][0], frame.status[0]) == (3, "done")


def test_the_newest_plan_describes_an_experiment_that_several_list(tmp_path):
    lab = Lab.at(tmp_path)
    lab.plan({"a": {"seed": 0}}, {"a": {"eval": "s1"}}, created=1.0)
    compact(lab.workspace)
    lab.plan(
        {"a": {"seed": 0, "size": 2}, "b": {"seed": 1}},
        {"a": {"eval": "s2"}, "b": {"eval": "s1"}},
        created=2.0,
    )
    lab.run("s1", metric("mmlu", 0.1))
    frame = results.load(tmp_path).set_index("experiment")
    assert sorted(frame.index) == ["a", "b"]
    assert frame.status.to_dict() == {"a": "pending", "b": "done"}
    assert frame["size"].dtype == "Int64"


def test_an_empty_workspace_is_an_empty_table(tmp_path):
    assert results.load(tmp_path).empty
    assert results.metrics(tmp_path).empty
    assert results.attempts(tmp_path).empty
    compact(Lab.at(tmp_path).workspace)
    assert results.load(tmp_path).empty
    assert results.curves(tmp_path).empty


def test_no_workspace_is_an_error_that_names_it(tmp_path):
    with pytest.raises(results.WorkspaceError, match="nowhere"):
        results.load(tmp_path / "nowhere")


def test_pandas_polars_and_duckdb_read_the_files(tmp_path):
    lab = Lab.at(tmp_path)
    lab.plan(EXPERIMENTS, PIPELINES, PARENTS)
    lab.run("eval-a", metric("mmlu", 0.4))
    compact(lab.workspace)
    path = tmp_path / "store" / "latest" / "metrics.parquet"
    assert pd.read_parquet(path).value.to_list() == [0.4]
    assert polars.read_parquet(path)["value"].to_list() == [0.4]
    query = (
        f"select method, value from '{path}' join '{path.with_name('members.parquet')}' using (stage) "
        f"join '{path.with_name('experiments.parquet')}' using (experiment)"
    )
    assert duckdb.sql(query).fetchall() == [("dpo", 0.4)]
    assert pq.read_table(path.with_name("runs.parquet"))["mmlu"].to_pylist() == [0.4, None]


def test_importing_the_package_is_cheap():
    code = "import sys, results; assert not {'pandas', 'pyarrow', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert callable(results.load) and callable(results.experiments)
