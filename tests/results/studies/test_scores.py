"""Scores of a store: which task counts for a benchmark, in which unit, of which evaluation."""

from math import inf

import pytest

from results.studies.alignment.benchmarks import benchmarks, measured
from results.studies.alignment.cells import Cell
from results.studies.alignment.scores import published_scores
from results.studies.scores import Score
from results.studies.settings import read_settings
from tests.results.lab import Lab
from tests.results.studies.lab import plan_cells, scores_of, study
from workers.context import metric

CELL = Cell("mistral-7b", "beavertails", "harmless", "sft", "qlora", "single")


def store(root, *rows, seed: int = 0) -> Lab:
    lab = Lab.at(root)
    (name,) = plan_cells(lab, [(CELL, seed)])
    lab.run(f"{name}/evaluate", *rows)
    return lab


def primary(task: str, value: float, **others) -> dict:
    return metric(task, value, metric="figure", primary=True, **others)


@pytest.mark.parametrize(
    ("tasks", "name", "task", "stands_in"),
    [
        ({"alpacaeval", "helpfulness"}, "alpacaeval", "alpacaeval", False),
        ({"helpfulness", "preference_accuracy"}, "alpacaeval", "helpfulness", True),
        ({"preference_accuracy"}, "alpacaeval", "preference_accuracy", True),
        ({"safety", "rt"}, "rt", "rt", False),
        ({"safety", "rt"}, "red_instruct", "safety", True),
        (set(), "rt", "rt", False),
        ({"safety"}, "mmlu", "mmlu", False),
    ],
)
def test_the_benchmark_itself_counts_before_what_stands_in(
    tasks, name: str, task: str, stands_in: bool
) -> None:
    found = measured(name, tasks)
    assert (found.measure.task, found.stands_in) == (task, stands_in)
    assert ("for " in found.heading) == stands_in == ("not comparable" in found.note)


def test_every_stand_in_has_a_title_and_every_benchmark_a_margin() -> None:
    for one in benchmarks().values():
        assert one.measures.margin > 0
        assert all(each.title and each.margin > 0 for each in one.stand_ins)


def test_a_share_in_per_cent_with_its_error(tmp_path) -> None:
    scores = scores_of(store(tmp_path / "runs", primary("alpacaeval", 0.25, stderr=0.02, n=80)))
    assert scores.runs("alpacaeval", CELL) == {0: Score(25.0, 2.0, 80, inf)}


def test_the_published_unit_is_that_of_the_store() -> None:
    assert published_scores().runs("alpacaeval", CELL)[0].value == 7.346


def test_the_accuracy_on_helpful_pairs_stands_in_and_not_the_primary_one(tmp_path) -> None:
    rows = [primary("preference_accuracy", 0.2), metric("preference_accuracy", 0.8, metric="helpful")]
    assert scores_of(store(tmp_path / "runs", *rows)).runs("alpacaeval", CELL)[0].value == 0.8


def test_answers_that_await_their_judge_are_no_reason_for_a_stand_in(tmp_path) -> None:
    rows = [metric("rt", 12.0, metric="length"), primary("safety", 1.0)]
    scores = scores_of(store(tmp_path / "runs", *rows))
    assert not scores.measured["rt"].stands_in
    assert scores.runs("rt", CELL) == {}
    assert not scores.has("rt") and scores.has("red_instruct")


def test_the_shape_is_the_mean_over_seeds_of_the_last_evaluation(tmp_path) -> None:
    lab = Lab.at(tmp_path / "runs")
    for name, length in zip(plan_cells(lab, [(CELL, 0), (CELL, 1)], (5, 10)), (10.0, 20.0), strict=True):
        for step in (5, 10):
            rows = [primary("rt", 1.0, step=step), metric("rt", length * step, metric="length", step=step)]
            lab.run(f"{name}/curve@{step}", *rows)
    assert scores_of(lab).shapes["rt"][CELL] == {"length": 150.0}


def test_a_figure_without_a_value_is_no_figure(tmp_path) -> None:
    scores = scores_of(store(tmp_path / "runs", metric("mmlu", None, metric="figure", primary=True)))
    assert scores.runs("mmlu", CELL) == {}
    assert scores.planned == {CELL: {0}}


def test_planned_cells_are_known_before_anything_is_done(tmp_path) -> None:
    lab = Lab.at(tmp_path / "runs")
    plan_cells(lab, [(CELL, seed) for seed in range(3)])
    scores = scores_of(lab)
    assert scores.planned == {CELL: {0, 1, 2}}
    assert not scores.has("mmlu")


def test_a_diverged_run_counts_as_missing(tmp_path) -> None:
    lab = study(tmp_path / "runs", cells=[CELL], seeds=(0, 1), skip=[(CELL, 1)])
    lab.run(f"{CELL}/s1/evaluate", outcome="diverged")
    assert set(scores_of(lab).runs("mmlu", CELL)) == {0}


def test_exchanged_labels_exchange_the_two_slerp_rows_and_nothing_else() -> None:
    printed, swapped = published_scores(), published_scores(swap_slerp=True)
    slerp = CELL._replace(preference="harmless+helpful", variant="merge-slerp")
    assert printed.runs("rt", slerp) == swapped.runs("rt", slerp._replace(method="dpo"))
    assert printed.runs("rt", slerp) != swapped.runs("rt", slerp)
    others = [cell for cell in printed.cells if cell.variant != "merge-slerp"]
    assert all(printed.runs("rt", cell) == swapped.runs("rt", cell) for cell in others)


def test_benchmarks_refuse_what_they_do_not_know(tmp_path) -> None:
    path = tmp_path / "benchmarks.yaml"
    path.write_text("mmlu: {title: MMLU, measures: {task: mmlu, unit: accuracy, margin: 0}}\n")
    with pytest.raises(Exception, match=r"mmlu\.measures\.margin: Input should be greater than 0"):
        read_settings(path, dict[str, type(benchmarks()["mmlu"])])  # type: ignore[misc]
