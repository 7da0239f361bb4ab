"""Findings of the quantization study on stores whose truth is known."""

from pathlib import Path

import pytest

from results.files import WorkspaceError
from results.statistics import equivalence_p, mean_interval
from results.studies.findings import Finding, Result, assessed
from results.studies.quantization import study as quantization
from results.studies.quantization.cells import Cell, arm
from results.studies.quantization.scores import published_scores
from results.studies.quantization.statements import BASELINES, FILE, read_statements
from results.studies.rendering import render
from tests.results.lab import Lab
from tests.results.studies.quantization.lab import SEEDS, scores_of, study, world
from tests.results.studies.workspaces import noise
from workers.context import metric

STATEMENTS = read_statements()


def found_in(lab: Lab) -> dict[str, Finding]:
    return assessed(scores_of(lab), STATEMENTS, BASELINES)


def part(finding: Finding, name: str, benchmark: str = "validation loss") -> Result:
    (one,) = [each for each in finding.results if (each.part, each.benchmark) == (name, benchmark)]
    return one


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, Finding]:
    arms = ["baseline", "w8_row", "w8_tensor", "v8_row", "v8_tensor", "w8a8"]
    return found_in(study(tmp_path_factory.mktemp("quantization") / "runs", arms))


@pytest.mark.parametrize(
    ("name", "verdict"),
    [("Y1", "holds"), ("Y2", "holds"), ("F2", "holds"), ("F12", "holds"), ("F1", "fails"), ("F4", "no data")],
)
def test_what_is_true_of_the_world_is_found(found: dict[str, Finding], name: str, verdict: str) -> None:
    assert found[name].verdict == verdict


def test_equality_is_two_one_sided_tests_on_paired_losses(found: dict[str, Finding]) -> None:
    (result,) = found["Y1"].results
    gaps = [world(arm("w8_row"), seed) - world(arm("baseline"), seed) for seed in SEEDS]
    wanted = mean_interval([round(gap, 10) for gap in gaps])
    assert result.conclusion.effect.mean == pytest.approx(wanted.mean)
    assert result.conclusion.p == pytest.approx(equivalence_p(wanted, 0.02), abs=1e-9)
    assert (result.claim, result.replicates) == ("within 0.02", "3 seeds")


@pytest.mark.parametrize(
    ("gaps", "verdict"),
    [
        ((0.001, 0.002, 0.001), "holds"),
        ((0.001, 0.03, -0.02), "leans"),
        ((0.05, 0.051, 0.049), "fails"),
        ((0.001, 0.09, 0.03), "undecided"),
    ],
)
def test_an_interval_that_contains_zero_is_not_equality(tmp_path, gaps, verdict: str) -> None:
    by_seed = dict(zip(SEEDS, gaps, strict=True))

    def loss(cell: Cell, seed: int) -> float:
        return 2.0 + (by_seed[seed] if cell.arm == "w8_row" else 0.0)

    assert found_in(study(tmp_path / "runs", ["baseline", "w8_row"], loss))["Y1"].verdict == verdict


def test_a_noisy_second_moment_leans_at_most(tmp_path) -> None:
    def loss(cell: Cell, seed: int) -> float:
        return 2.0 + (0.5 * SEEDS.index(seed) if cell.arm == "v8_row" else 0.0)

    assert found_in(study(tmp_path / "runs", ["baseline", "v8_row"], loss))["Y2"].verdict == "leans"


def diverging(root: Path, steps: int, diverged: dict[tuple[str, int], int]) -> dict[str, Finding]:
    return found_in(study(root, ["baseline", "a4_row", "a4_tensor"], diverged=diverged, steps=steps))


def test_a_short_training_cannot_refute_that_an_arm_diverges(tmp_path) -> None:
    found = diverging(tmp_path / "runs", 250, {})
    assert found["F5"].verdict == "not testable"
    assert part(found["F5"], "per token", "training").note.startswith("250 steps are too few")
    long = diverging(tmp_path / "long", 300_000, {})
    assert part(long["F5"], "per token", "training").conclusion.verdict == "fails"


def test_divergence_sooner_per_tensor_than_per_token(tmp_path) -> None:
    ends = {("a4_row", seed): 200 + seed % 7 for seed in SEEDS} | {("a4_tensor", seed): 100 for seed in SEEDS}
    found = diverging(tmp_path / "runs", 250, ends)
    assert found["F5"].verdict == "holds"
    share = part(found["F5"], "per tensor", "training").conclusion
    assert (share.effect.mean, share.effect.n) == (1.0, 3)
    assert share.effect.low == pytest.approx(0.025 ** (1 / 3))


def test_some_runs_that_diverge_decide_nothing(tmp_path) -> None:
    found = diverging(tmp_path / "runs", 300_000, {("a4_row", 42): 100})
    assert part(found["F5"], "per token", "training").conclusion.verdict == "undecided"


@pytest.mark.parametrize(
    ("ends", "worse", "equal"),
    [({42: 90, 1337: 80, 2024: 70}, "holds", "fails"), ({42: 90}, "leans", "fails"), ({}, "holds", "fails")],
)
def test_a_loss_that_diverged_is_above_any(tmp_path, ends, worse: str, equal: str) -> None:
    broken = {("v8_row", seed): end for seed, end in ends.items()}
    lab = study(tmp_path / "runs", ["baseline", "v8_row"], diverged=broken)
    results = assessed(scores_of(lab), STATEMENTS, BASELINES)
    assert part(results["F12"], "per channel").conclusion.verdict == worse
    note = part(results["F12"], "per channel").note
    assert note == (f"{len(ends)} of 3 runs diverged" if ends else "")
    same = tmp_path / "same.yaml"
    same.write_text(
        "E: {statement: equal, tests: [{cells: {arm: [v8_row]}, against: control, claim: equal, benchmarks: [loss]}]}"
    )
    assert assessed(scores_of(lab), read_statements(same), BASELINES)["E"].verdict == equal


def sharp(cell: Cell, seed: int):
    bits = 4 if "4" in cell.arm else 8 if "8" in cell.arm else 16
    return [
        metric(
            "sharpness",
            1 / bits + 0.001 * noise(f"{cell.arm}/{seed}"),
            metric="sharpness",
            stderr=0.01,
            n=8,
            primary=True,
        )
    ]


def test_sharper_minima_with_fewer_bits(tmp_path) -> None:
    found = found_in(study(tmp_path / "runs", ["baseline", "w8_row", "w4_row"], more=sharp))["F8"]
    assert part(found, "weights", "m-sharpness").conclusion.verdict == "holds"
    assert part(found, "8 bits", "m-sharpness").conclusion.verdict == "holds"
    assert part(found, "activations", "m-sharpness").conclusion.verdict == "no data"


def test_accuracy_that_follows_the_loss(tmp_path) -> None:
    arms = ["baseline", "w8_row", "w8_tensor", "v8_row", "v8_tensor", "w8a8"]

    def accuracy(cell: Cell, seed: int):
        return [
            metric("rte", 2 - world(cell, seed) + 0.1 * SEEDS.index(seed), metric="accuracy", primary=True)
        ]

    found = found_in(study(tmp_path / "runs", arms, more=accuracy))["F14"]
    one = part(found, "", "RTE").conclusion
    assert (one.effect.mean, one.effect.n, one.verdict) == (pytest.approx(-1), 5, "leans")
    assert part(found, "", "RTE").comparison == "with gap to the control"


def test_perplexity_in_per_cent_of_the_control(tmp_path) -> None:
    def perplexity(cell: Cell, seed: int):
        value = (30 + SEEDS.index(seed)) * (1.01 + 0.001 * (seed == 42) if cell.arm == "w8a8" else 1)
        return [metric("perplexity_ptb", value, metric="legacy")]

    found = found_in(study(tmp_path / "runs", ["baseline", "w8a8"], more=perplexity))["F1"]
    one = part(found, "", "PTB")
    assert (one.conclusion.effect.mean, one.unit) == (pytest.approx(1.0, abs=0.05), "%")
    assert one.conclusion.verdict == "holds"


def test_published_figures_are_tested_alike() -> None:
    found = assessed(published_scores(), STATEMENTS, BASELINES)
    row = "a printed row that may be it"
    stated = {"WikiText-2": 0.4, "WikiText-103": 0.5, "PTB": 0.3, "1BW": 0.2}
    effects = {name: part(found["F11"], row, name).conclusion.effect.mean for name in stated}
    assert effects == pytest.approx(stated, abs=0.051)
    assert "second-hand" in part(found["F11"], row, "PTB").note
    assert found["F5"].verdict == "leans"
    tested = {name for name, one in found.items() if one.verdict != "no data"}
    assert tested == {"F5", "F11"}


def test_both_sources_side_by_side(tmp_path) -> None:
    lab = study(tmp_path / "runs", ["baseline", "a4_row"], seeds=[42])
    table, _ = quantization.findings(lab.workspace, published=True)
    text = render(table, "markdown")
    assert "Findings of the quantization study (scale tiny, preset corrected)" in text
    assert (
        "Not testable: the runs are too short" in text
        and "too few: published runs failed after 37000" in text
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "]}\n      against: control",
            "]}\n      against: controll",
            "unknown baseline 'controll'; allowed: control",
        ),
        (
            "contrast: {arm: [w4_tensor",
            "contrast: {arms: [w4_tensor",
            "unknown factor 'arms'; allowed: model, arm",
        ),
        ("beside: gap", "beside: gaps", "unknown benchmark 'gaps'; allowed: loss, gap"),
        ("      relative: true\n", "      at: [60]\n", "`at` is for a study along its steps"),
        ("claim: equal", "claim: best", "this study has no claim `best`"),
        ("claim: diverges", "claim: explodes", "Input should be 'greater'"),
    ],
)
def test_a_mistake_in_the_statements_is_one_message(tmp_path, old: str, new: str, message: str) -> None:
    path, text = tmp_path / "mine.yaml", FILE.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(WorkspaceError) as error:
        read_statements(path)
    assert str(path) in str(error.value) and message in str(error.value)
