"""Queries on the store: rows that a condition holds for, averages, and the metrics that were asked for."""

import math

import pandas as pd
import pytest

from orchestrator.errors import GridError
from orchestrator.query import query
from results.files import WorkspaceError
from results.layout import Workspace
from tests.orchestrator.lab import NAMES, Lab
from workers.context import metric

VALUES = {"sft/s0": 0.25, "sft/s1": 0.75, "dpo/s0": 0.5, "dpo/s1": 1.0}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Lab:
    """All experiments done: `mmlu` with a standard error and a sub-metric, and `perplexity` from the training."""
    lab = Lab(Workspace(tmp_path_factory.mktemp("query")))
    lab.finish("base", metrics=(metric("perplexity", 9.0, primary=True),))
    for name in NAMES:
        stage = name.replace("/s", "-")
        lab.finish(f"train-{stage}", metrics=(metric("perplexity", 2.0, primary=True),))
        rows = (
            metric("mmlu", VALUES[name], stderr=0.1, n=10, primary=True),
            metric("mmlu", 3.0, metric="stem"),
        )
        lab.finish(f"eval-{stage}", metrics=rows)
    return lab


def ask(lab: Lab, where: str | None = None, by: str = "", metrics: str = "") -> pd.DataFrame:
    return query(lab.workspace.root, where, by.split(), metrics.split())


def test_without_wishes_it_is_what_load_gives(finished: Lab) -> None:
    frame = ask(finished)
    assert len(frame) == 4
    assert {"experiment", "name", "method", "seed", "status", "mmlu", "mmlu.stderr", "perplexity"} <= set(
        frame
    )


def test_metrics_are_chosen_in_the_order_asked(finished: Lab) -> None:
    frame = ask(finished, metrics="perplexity mmlu")
    assert list(frame) == ["experiment", "name", "status", "perplexity", "mmlu"]


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("method == 'dpo'", ["dpo/s0", "dpo/s1"]),
        ("method == 'dpo' and seed == 1", ["dpo/s1"]),
        ("seed in (1,) or method == 'sft'", ["sft/s0", "sft/s1", "dpo/s1"]),
        ("not method == 'dpo'", ["sft/s0", "sft/s1"]),
        ("mmlu > 0.6", ["sft/s1", "dpo/s1"]),
        ("seed > 5", []),
    ],
)
def test_a_condition_selects_rows_by_factors_and_figures(finished: Lab, where: str, names: list[str]) -> None:
    assert sorted(ask(finished, where)["name"]) == sorted(names)


def test_an_average_says_how_many_are_behind_it(finished: Lab) -> None:
    frame = ask(finished, by="method", metrics="mmlu").set_index("method")
    assert frame.to_dict("index") == {"sft": {"n": 2, "mmlu": 0.5}, "dpo": {"n": 2, "mmlu": 0.75}}


def test_an_average_without_metrics_is_over_every_primary_one(finished: Lab) -> None:
    assert list(ask(finished, by="method")) == ["method", "n", "mmlu", "perplexity"]


def test_an_average_by_two_factors_and_of_a_selection(finished: Lab) -> None:
    frame = ask(finished, "method == 'dpo'", by="method seed", metrics="mmlu")
    assert frame.to_dict("records") == [
        {"method": "dpo", "seed": 0, "n": 1, "mmlu": 0.5},
        {"method": "dpo", "seed": 1, "n": 1, "mmlu": 1.0},
    ]


def test_an_average_by_seed_is_over_the_rest(finished: Lab) -> None:
    frame = ask(finished, by="seed", metrics="mmlu").set_index("seed")
    assert frame["mmlu"].to_dict() == {0: 0.375, 1: 0.875}


@pytest.mark.parametrize(
    ("by", "metrics", "message"),
    [
        ("", "mlmu", "unknown metric 'mlmu'; did you mean 'mmlu'? Allowed: method, mmlu, perplexity, seed"),
        ("metod", "", "unknown factor 'metod'; did you mean 'method'?"),
        ("zzz", "", "unknown factor 'zzz'; allowed: "),
    ],
)
def test_a_name_that_does_not_exist_gets_the_nearest(
    finished: Lab, by: str, metrics: str, message: str
) -> None:
    with pytest.raises(WorkspaceError) as error:
        ask(finished, by=by, metrics=metrics)
    assert str(error.value).startswith(message)


def test_a_sub_metric_can_be_asked_for_by_its_full_name(finished: Lab) -> None:
    assert set(ask(finished, metrics="mmlu.stem")["mmlu.stem"]) == {3.0}


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("metod == 'dpo'", "did you mean 'method'?"),
        ("method == 'dop'", "unknown level 'dop'"),
        ("method ==", "--where method =="),
    ],
)
def test_a_wrong_condition_is_explained(finished: Lab, where: str, message: str) -> None:
    with pytest.raises(GridError) as error:
        ask(finished, where)
    assert message in str(error.value)


def test_experiments_without_a_figure_are_there_and_do_not_count_in_averages(lab: Lab) -> None:
    lab.finish("base", "train-sft-0", "eval-sft-0")
    frame = query(lab.workspace.root, None, [], ["toy"])
    assert list(frame["status"]) == ["done", "pending", "pending", "pending"]
    assert [math.isnan(value) for value in frame["toy"]] == [False, True, True, True]
    averaged = query(lab.workspace.root, None, ["method"], ["toy"]).set_index("method")
    assert averaged.loc["sft", "toy"] == 1.0


def test_n_is_the_number_of_experiments_behind_the_average(lab: Lab) -> None:
    lab.finish("base", "train-sft-0", "eval-sft-0")
    averaged = query(lab.workspace.root, None, ["method"], ["toy"]).set_index("method")
    assert averaged.loc["sft", "n"] == 1


def test_figures_of_a_shared_parent_that_is_not_shown_make_no_column(lab: Lab) -> None:
    lab.finish("base", metrics=(metric("warm_up", 1.0, primary=True),))
    lab.finish("train-sft-0", "eval-sft-0")
    assert "warm_up" not in query(lab.workspace.root, None, [], [])
