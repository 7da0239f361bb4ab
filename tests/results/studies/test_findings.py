"""Findings on stores whose truth is known, and statements of a user's own."""

import json
from math import isnan
from pathlib import Path

import pytest

from results.files import WorkspaceError
from results.statistics import mean_interval
from results.studies.alignment import study as alignment
from results.studies.alignment.cells import Cell
from results.studies.alignment.pairs import BASELINES, paired
from results.studies.alignment.statements import FILE, Comparison, read_statements
from results.studies.findings import Finding, assessed
from results.studies.readings import fitted_gain
from results.studies.rendering import render
from results.studies.scores import Score
from tests.results.lab import Lab
from tests.results.studies.lab import CELLS, PAIR, metric_rows, noise, plan_cells, scores_of, study, truth
from workers.context import metric

STATEMENTS = read_statements()
SINGLE = Cell("mistral-7b", "beavertails", "harmless", "sft", "qlora", "single")
INSTRUCT = SINGLE._replace(model="mistral-7b-instruct")
ORIGINAL = Cell("mistral-7b", "none", "none", "none", "none", "original")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Lab:
    return study(tmp_path_factory.mktemp("findings") / "runs")


@pytest.fixture(scope="module")
def found(whole: Lab) -> dict[str, Finding]:
    return assessed(scores_of(whole), STATEMENTS, BASELINES)


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("F1", "holds"),
        ("F2", "holds"),
        ("F3", "fails"),
        ("F4", "undecided"),  # on BeaverTails SFT gains more than DPO is worth
        ("F5", "holds"),
        ("F6", "fails"),
        ("F10", "holds"),
        ("F11", "holds"),
        ("F12", "holds"),
        ("F13", "holds"),
        ("F14", "no data"),
        ("F16", "holds"),
        ("G1", "undecided"),
    ],
)
def test_what_is_true_of_the_world_is_found(found: dict[str, Finding], name: str, verdict: str) -> None:
    assert found[name].verdict == verdict


def test_an_effect_is_the_paired_difference_over_cells_and_seeds(found: dict[str, Finding]) -> None:
    (bbh, *_) = found["F1"].results
    cells = [cell for cell in CELLS if cell.variant == "single" and cell.adapter == "qlora"]
    left = [cell for cell in cells if cell.dataset == "beavertails"]
    means = [
        sum(truth(one, seed, "bbh") - truth(one._replace(dataset="hh-rlhf"), seed, "bbh") for one in left)
        / 16
        for seed in (0, 1, 2)
    ]
    wanted = mean_interval(means)
    effect = bbh.conclusion.effect
    assert (effect.mean, effect.low, effect.high) == pytest.approx((wanted.mean, wanted.low, wanted.high))
    assert (bbh.replicates, bbh.conclusion.agree, bbh.conclusion.compared) == ("3 seeds", 16, 16)
    assert bbh.left - bbh.right == pytest.approx(wanted.mean)


def test_holms_p_is_never_below_the_raw_one(found: dict[str, Finding]) -> None:
    results = [one for finding in found.values() for one in finding.results]
    assert all(one.p_holm >= one.conclusion.p or isnan(one.p_holm) for one in results)
    assert any(one.p_holm > one.conclusion.p for one in found["F11"].results)


def one_test(**changes) -> Comparison:
    return Comparison.model_validate(
        {
            "cells": {"variant": ["single"]},
            "contrast": {"dataset": ["beavertails", "hh-rlhf"]},
            "claim": "greater",
            "benchmarks": ["mmlu"],
        }
        | changes
    )


def test_a_missing_run_costs_its_cell_and_is_named(tmp_path) -> None:
    """Of eight cells and five seeds the cell is the smaller loss."""
    cells = [
        cell
        for cell in CELLS
        if cell.variant == "single" and cell.adapter == "qlora" and cell.method == "sft"
    ]
    gone = SINGLE._replace(dataset="hh-rlhf")
    lab = study(tmp_path / "runs", cells=cells, seeds=range(5), skip=[(gone, 3)], tasks=["mmlu"])
    pairs = paired(scores_of(lab), one_test(), {}, "mmlu")
    assert (len(pairs.cells), pairs.missing, pairs.dropped_seeds) == (7, [SINGLE], [])
    assert pairs.seeds == [0, 1, 2, 3, 4]
    (mmlu,) = [
        one
        for one in assessed(scores_of(lab), STATEMENTS, BASELINES)["F1"].results
        if one.benchmark == "MMLU"
    ]
    assert mmlu.note == f"without {SINGLE}, where a score is missing"


def test_seeds_that_have_hardly_begun_are_left_out_rather_than_all_cells(tmp_path) -> None:
    cells = [one._replace(dataset=name) for one in (SINGLE, INSTRUCT) for name in ("beavertails", "hh-rlhf")]
    late = [(cell, seed) for cell in cells[1:] for seed in (2, 3)]
    lab = study(tmp_path / "runs", cells=cells, seeds=range(4), skip=late)
    pairs = paired(scores_of(lab), one_test(), {}, "mmlu")
    assert (pairs.cells, pairs.seeds, pairs.dropped_seeds) == ([SINGLE, INSTRUCT], [0, 1], [2, 3])


def test_nothing_measured_is_no_data_and_says_of_what(tmp_path) -> None:
    pair = [SINGLE, SINGLE._replace(dataset="hh-rlhf")]
    lab = study(tmp_path / "runs", cells=pair, tasks=("mmlu",))
    results = assessed(scores_of(lab), STATEMENTS, BASELINES)["F1"].results
    verdicts = {one.benchmark: (one.conclusion.verdict, one.note) for one in results}
    assert verdicts["MMLU"] == ("holds", "")
    assert verdicts["RT"] == ("no data", "no figures of `rt`")


def test_one_seed_leans_at_most(tmp_path) -> None:
    pair = [SINGLE, SINGLE._replace(dataset="hh-rlhf")]
    lab = study(tmp_path / "runs", cells=pair, seeds=[0])
    found = assessed(scores_of(lab), STATEMENTS, BASELINES)
    assert found["F1"].verdict == "leans"
    assert {one.conclusion.effect.known for one in found["F1"].results} == {False}


def test_a_tie_is_a_tie_whatever_the_rounding(tmp_path) -> None:
    """0.3 - 0.2 and 0.4 - 0.3 differ in the last bit; that is no interaction."""
    values = {
        ("beavertails", "sft"): 0.3,
        ("hh-rlhf", "sft"): 0.2,
        ("beavertails", "dpo"): 0.4,
        ("hh-rlhf", "dpo"): 0.3,
    }
    cells = [SINGLE._replace(dataset=dataset, method=method) for dataset, method in values]
    lab = study(
        tmp_path / "runs", lambda cell, seed, task: values[cell.dataset, cell.method], cells, tasks=["mmlu"]
    )
    (mmlu,) = [
        one
        for one in assessed(scores_of(lab), STATEMENTS, BASELINES)["F2"].results
        if one.benchmark == "MMLU"
    ]
    assert mmlu.conclusion.effect.mean == 0
    assert mmlu.conclusion.verdict == "undecided" and isnan(mmlu.conclusion.p)
    assert "all replicates alike" in mmlu.note


def test_an_original_counts_for_every_seed(tmp_path) -> None:
    lab = study(tmp_path / "runs", cells=[SINGLE, ORIGINAL], seeds=(0, 1, 2, 3))
    pairs = paired(scores_of(lab), one_test(contrast={}, against="original"), {}, "mmlu")
    assert pairs.right.tolist() == [[truth(ORIGINAL, 0, "mmlu")] * 4]
    assert pairs.left.tolist() == [[truth(SINGLE, seed, "mmlu") for seed in (0, 1, 2, 3)]]


def test_an_unfinished_seed_of_the_other_side_is_not_taken_for_an_original(tmp_path) -> None:
    cells = [SINGLE, SINGLE._replace(dataset="hh-rlhf")]
    lab = study(tmp_path / "runs", cells=cells, seeds=(0, 1, 2), skip=[(cells[1], 1), (cells[1], 2)])
    pairs = paired(scores_of(lab), one_test(), {}, "mmlu")
    assert (pairs.seeds, pairs.dropped_seeds) == ([0], [1, 2])


def test_a_merge_is_compared_with_its_parents_at_its_own_precision(tmp_path) -> None:
    lab = Lab.at(tmp_path / "runs")
    merge = SINGLE._replace(preference="harmless+helpful", variant="merge-slerp")
    parents = [SINGLE, SINGLE._replace(preference="helpful")]
    roles = {merge: ["evaluate"], **{one: ["evaluate", "unquantized"] for one in parents}}
    lab.plan(
        {str(cell): {**cell._asdict(), "seed": 0} for cell in roles},
        {str(cell): {role: f"{cell}/{role}" for role in names} for cell, names in roles.items()},
    )
    values = dict(zip(parents, (0.6, 0.7), strict=True))
    for cell, names in roles.items():
        for role in names:
            value = values.get(cell, 0.65) - (0.1 if role == "evaluate" and cell in values else 0.0)
            lab.run(f"{cell}/{role}", metric("bbh", value, stderr=0.01, n=9, primary=True))
    (result, *_) = assessed(scores_of(lab), STATEMENTS, BASELINES)["F10"].results
    assert (result.left, result.right) == pytest.approx((0.65, 0.7))
    assert result.conclusion.verdict == "fails"


def curves(root: Path, slope: float) -> Lab:
    lab, steps, seeds = Lab.at(root), (9, 18, 27), (0, 1, 2)
    for name, seed in zip(plan_cells(lab, [(INSTRUCT, seed) for seed in seeds], steps), seeds, strict=True):
        for step in steps:
            value = 0.5 + slope * step + 0.001 * noise(f"{seed}/{step}")
            rows = metric_rows(INSTRUCT, seed, ["mmlu"], lambda *_, value=value: value, step)  # type: ignore[misc]
            lab.run(f"{name}/curve@{step}", *rows)
    return lab


@pytest.mark.parametrize(("slope", "verdict"), [(-0.01, "holds"), (0.01, "fails")])
def test_more_samples_that_do_not_help(tmp_path, slope: float, verdict: str) -> None:
    results = assessed(scores_of(curves(tmp_path / "runs", slope)), STATEMENTS, BASELINES)["F14"].results
    (mmlu,) = [one for one in results if one.benchmark == "MMLU"]
    assert mmlu.conclusion.verdict == verdict
    assert mmlu.conclusion.effect.mean == pytest.approx(18 * slope, abs=0.003)


def test_the_fitted_gain_by_hand() -> None:
    line = [Score(1.0, step=100), Score(2.0, step=200), Score(1.5, step=300)]
    assert fitted_gain(line) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("effects", "verdict", "agree"),
    [
        ([(0.02, 0.001), (-0.02, 0.001)], "holds", 1),
        ([(0.001, 0.02), (-0.02, 0.001)], "leans", 1),
        ([(-0.01, 0.001), (-0.02, 0.001)], "fails", 0),
    ],
)
def test_somewhere_is_corrected_for_looking_everywhere(tmp_path, effects, verdict: str, agree: int) -> None:
    """Harmless runs beat the helpful ones of each model by (mean, spread over seeds)."""
    by_model = dict(zip(PAIR, effects, strict=True))

    def value(cell: Cell, seed: int, task: str) -> float:
        mean, spread = by_model[cell.model]
        return 0.1 + (cell.preference == "harmless") * (mean + spread * (seed - 2))

    cells = [
        SINGLE._replace(model=model, preference=name) for model in PAIR for name in ("harmless", "helpful")
    ]
    lab = study(tmp_path / "runs", value, cells, range(5), ["alpacaeval"])
    results = assessed(scores_of(lab), STATEMENTS, BASELINES)["F9"].results
    (bt,) = [one for one in results if one.part == "QLoRA, BeaverTails"]
    assert (bt.conclusion.verdict, bt.conclusion.agree, bt.conclusion.compared) == (verdict, agree, 2)


def test_both_sources_stand_side_by_side(whole: Lab) -> None:
    table, text = alignment.findings(whole.workspace, published=True)
    assert list(table.header[-3:]) == ["published effect", "published cells", "published verdict"]
    (row,) = [row for row in table.rows if row[0] == "F3"]
    assert (row[8], row[-1]) == ("fails", "leans")
    content = json.loads(text)
    assert {one["source"] for one in content} == {"store", "published"}
    assert len(content) == 2 * len(STATEMENTS)
    f14 = next(one for one in content if one["finding"] == "F14")
    assert f14["tests"][0]["p"] is None
    assert f14["tests"][0]["note"] == "no snapshots along the training"
    shown = render(table, "markdown")
    assert "change along the training" not in shown and "Left out: " in shown


def test_a_user_changes_margins_and_statements(whole: Lab, tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "X1:\n  statement: equal\n  tests:\n    - cells: {variant: [single], dataset: [beavertails]}\n"
        "      contrast: {adapter: [lora, qlora]}\n      claim: equal\n      benchmarks: [mmlu]\n"
        "      margins: {mmlu: 0.0001}\n"
    )
    table, _ = alignment.findings(whole.workspace, statements=path)
    assert [row[0] for row in table.rows] == ["X1", ""]
    assert "within 0.0001" in table.rows[1][1]
    assert table.rows[0][8] in ("leans", "undecided")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("claim: greater\n", "claim: bigger\n", "F1.tests.0.claim: Input should be 'greater'"),
        ("adapter: [qlora]}", "adaptor: [qlora]}", "unknown factor 'adaptor'; allowed: model"),
        ("benchmarks: [bbh,", "benchmarks: [bhb,", "unknown benchmark 'bhb'; allowed: mmlu"),
        ("follows_from: [F4", "follows_from: [F44", "'F44' is no tested statement; allowed: F1"),
        ("statement: More", "statment: More", "F1.statment: Extra inputs are not permitted"),
        ("against: original\n", "against: original\n      contrast: {method: [a, b]}\n", "give either"),
        ("claim: best", "claim: greater", "goes with `against: other_merges`"),
        ("F1:", "F1: [", "not YAML"),
    ],
)
def test_a_mistake_in_the_statements_is_one_message(tmp_path, old: str, new: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    text = FILE.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(WorkspaceError) as error:
        read_statements(path)
    assert str(path) in str(error.value) and message in str(error.value)


def test_statements_that_are_not_there(tmp_path) -> None:
    with pytest.raises(WorkspaceError, match="cannot be read"):
        read_statements(tmp_path / "none.yaml")


def test_a_statement_needs_tests_or_other_statements() -> None:
    with pytest.raises(ValueError, match="give either `tests` or `follows_from`"):
        replace_tests = STATEMENTS["F1"].model_dump() | {"tests": ()}
        type(STATEMENTS["F1"]).model_validate(replace_tests)


def test_the_pair_of_models_is_that_of_the_merges() -> None:
    assert {cell.model for cell in CELLS if cell.variant.startswith("merge")} == set(PAIR)
