"""Effects of a store's factors: which runs and factors are seen, what the table and the figure say."""

import csv
import io

import pytest

import results
from results.effects.analyses import analysed, effects_figure, effects_table
from results.effects.observations import ABSENT, primary, runs_of
from results.files import WorkspaceError
from results.statistics import holm
from results.statistics.factorial import analyse
from results.studies.rendering import as_csv, markdown
from tests.results.effects.lab import METHODS, MODELS, SEEDS, finished, score
from tests.results.lab import Lab, metric

FACTORS = ["model", "method", "size", "seed"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return runs_of(results.load(finished(tmp_path_factory.mktemp("effects") / "runs").workspace), FACTORS)


def test_what_varies_is_analysed_and_seeds_are_replicates(runs) -> None:
    (found,) = analysed(runs, ["mmlu"])
    cells = [(model, method, seed) for model in MODELS for method in METHODS for seed in SEEDS]
    columns = {"model": [cell[0] for cell in cells], "method": [cell[1] for cell in cells]}
    expected = analyse([score(*cell) for cell in cells], columns)
    assert [(term.term, term.df) for term in found.analysis.terms] == [
        ("model", 2),
        ("method", 1),
        ("model × method", 2),
    ]
    assert [term.f for term in found.analysis.terms] == pytest.approx([term.f for term in expected.terms])
    assert found.constant == {"size": "tiny"} and found.analysis.error_df == 24


def test_p_values_are_corrected_over_terms_and_metrics(runs) -> None:
    found = analysed(runs, ["mmlu", "perplexity"])
    raw = [term.p for one in found for term in one.analysis.terms]
    assert [p for one in found for p in one.p_holm.values()] == holm(raw)
    assert len(raw) == 6


def test_metrics_are_those_of_tasks_and_of_no_factor(runs) -> None:
    assert runs.metrics == ["mmlu", "mmlu.stderr", "perplexity", "perplexity.stderr"]
    assert primary(runs.metrics) == ["mmlu", "perplexity"]


def test_the_table_has_a_row_for_each_term_and_each_effect_that_is_there(runs) -> None:
    table = effects_table(analysed(runs, ["mmlu"]), "Effects")
    assert [row[1] for row in table.rows if row[1]] == ["model", "method", "model × method"]
    levels = [row[2] for row in table.rows if row[2]]
    assert levels[:5] == [*MODELS, *METHODS] and "huge × dpo" in levels
    assert "30 runs in 6 cells" in markdown(table) and "the same in all runs: size tiny" in markdown(table)
    method = next(row for row in table.rows if row[2] == "dpo")
    assert float(method[3]) == pytest.approx(0.2 / 3, abs=0.01)
    records = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert len(records) == 3 + 2 + 6 and {"p_holm", "share", "stderr"} <= records[0].keys()


def test_an_interaction_that_is_not_there_is_tested_and_not_listed(runs) -> None:
    few = runs_of(runs.frame[runs.frame.model != "huge"], FACTORS)
    table = effects_table(analysed(few, ["mmlu"]), "Effects")
    assert "model × method" in [row[1] for row in table.rows]
    assert not [row[2] for row in table.rows if "×" in row[2]]
    assert len(table.records) == 2 + 2 + 4


def test_a_lower_order_says_that_it_lacks_something(runs) -> None:
    found = analysed(runs, ["mmlu"], order=1)
    assert [term.term for term in found[0].analysis.terms] == ["model", "method"]
    assert "higher interactions matter" in markdown(effects_table(found, "Effects"))


def test_chosen_factors_alone(runs) -> None:
    (found,) = analysed(runs, ["mmlu"], ["method"])
    assert [term.term for term in found.analysis.terms] == ["method"]


def test_unfinished_runs_leave_an_unbalanced_design_and_empty_cells_are_named(tmp_path) -> None:
    lab = finished(tmp_path / "runs", lambda model, method, seed: seed < 3 or model == "small")
    assert analysed(runs_of(results.load(lab.workspace), FACTORS), ["mmlu"])[0].analysis.runs == 22
    lab = finished(tmp_path / "holes", lambda model, method, seed: (model, method) != ("huge", "dpo"))
    found = analysed(runs_of(results.load(lab.workspace), FACTORS), ["mmlu"])
    assert (
        "mmlu: model × method left out: 1 of its 6 combinations have no run."
        in effects_table(found, "").notes
    )


def test_the_figure_has_a_panel_a_metric_and_draws(runs, tmp_path) -> None:
    figure = effects_figure(analysed(runs, ["mmlu", "perplexity"]), "Effects")
    assert figure.panels == ["mmlu", "perplexity"] and "method dpo" in figure.rows
    figure.save(tmp_path / "effects.svg")
    assert "model huge, method dpo" in (tmp_path / "effects.svg").read_text()


def test_an_experiment_that_lacks_a_factor_has_the_level_absent(tmp_path) -> None:
    lab = Lab.at(tmp_path / "runs")
    lab.plan({"a": {"method": "sft"}, "b": {}}, {"a": {"eval": "s-a"}, "b": {"eval": "s-b"}})
    for stage in ("s-a", "s-b"):
        lab.run(stage, metric("mmlu", 0.5))
    seen = runs_of(results.load(lab.workspace), ["method"]).observe("mmlu")
    assert seen.levels == {"method": ["sft", ABSENT]}
    assert list(seen.replicates) == [ABSENT, ABSENT]


@pytest.mark.parametrize(
    ("metrics", "factors", "said"),
    [
        (["mmlx"], [], r"unknown metric 'mmlx'; did you mean 'mmlu'\? Allowed: mmlu, perplexity"),
        (["mmlu"], ["methd"], "unknown factor 'methd'; did you mean 'method'"),
        (["mmlu"], ["size"], "no factor but 'seed' varies"),
    ],
)
def test_a_mistake_is_one_message(runs, metrics, factors, said) -> None:
    with pytest.raises(WorkspaceError, match=said):
        analysed(runs, metrics, factors)


def test_several_scales_are_not_one_analysis(runs) -> None:
    mixed = runs.frame.copy()
    mixed.loc[0, "scale"] = "small"
    with pytest.raises(WorkspaceError, match="several kinds of scale"):
        runs_of(mixed, FACTORS)
    with pytest.raises(WorkspaceError, match="no experiments"):
        runs_of(mixed[:0], FACTORS)
