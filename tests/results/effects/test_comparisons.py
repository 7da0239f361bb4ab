"""The levels of one factor of a store over the cells that they share."""

import pytest

import results
from results.effects.comparisons import ALL, compared, comparison_table
from results.effects.observations import runs_of
from results.files import WorkspaceError
from results.studies.rendering import as_csv, markdown
from tests.results.effects.lab import finished

FACTORS = ["model", "method", "size", "seed"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("comparisons") / "runs")


@pytest.fixture
def runs(lab):
    return runs_of(results.load(lab.workspace), FACTORS)


def test_two_levels_over_the_cells_and_seeds_that_they_share(runs) -> None:
    (found,) = compared(runs, "method", ["mmlu"])
    (duel,) = found.ranking.duels
    assert found.levels == ["sft", "dpo"]
    assert (duel.paired.cells, duel.paired.seeds) == (3, 5)
    assert duel.paired.difference.mean == pytest.approx(-0.4 / 3)
    assert found.ranking.wins()[1, 0] >= 2 / 3


def test_where_less_is_better_ranks_turn_and_differences_keep_their_sign(runs) -> None:
    (more,), (less,) = (
        compared(runs, "method", ["perplexity"]),
        compared(runs, "method", ["perplexity"], ["perplexity"]),
    )
    assert less.ranking.duels[0].paired.difference == more.ranking.duels[0].paired.difference
    assert less.ranking.duels[0].paired.difference.mean == pytest.approx(0.4 / 3)
    assert less.ranking.ranks[1].mean < 1.5 < more.ranking.ranks[1].mean
    assert less.ranking.wins()[1, 0] == 1 - more.ranking.wins()[1, 0]


def test_all_metrics_together_have_ranks_and_wins_and_no_difference(runs) -> None:
    found = compared(runs, "method", ["mmlu", "perplexity"], ["perplexity"])
    assert [one.metric for one in found] == ["mmlu", "perplexity", ALL]
    assert found[2].ranking.cells == 6
    table = comparison_table(found, "method", "Levels")
    assert [row[1] for row in table.rows if row[0] == ALL] == ["sft", "dpo"]
    assert next(record["difference"] for record in table.records if record["metric"] != ALL) < 0
    assert f"{ALL},sft,dpo,,,," in as_csv(table)


def test_three_levels_make_three_pairs_and_friedmans_test(runs) -> None:
    found = compared(runs, "model", ["mmlu"])
    table = comparison_table(found, "model", "Levels")
    assert [row[1] for row in table.rows][3:] == ["small − large", "small − huge", "large − huge"]
    assert table.header[-3:] == ["wins against small", "wins against large", "wins against huge"]
    assert "Friedman's p" in markdown(table)


def test_only_shared_cells_count(tmp_path) -> None:
    """SFT alone was run on the largest model, where DPO would have gained nothing."""
    lab = finished(tmp_path / "runs", lambda model, method, seed: (model, method) != ("huge", "dpo"))
    (found,) = compared(runs_of(results.load(lab.workspace), FACTORS), "method", ["mmlu"])
    assert found.ranking.duels[0].paired.cells == 2
    assert found.ranking.duels[0].paired.difference.mean == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("factor", "said"), [("size", "'size' has one level only"), ("seed", "makes the replicates")]
)
def test_what_cannot_be_compared_is_refused(runs, factor, said) -> None:
    with pytest.raises(WorkspaceError, match=said):
        compared(runs, factor, ["mmlu"])
