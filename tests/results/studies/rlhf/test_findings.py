"""Findings of the LoRA PPO study on stores whose truth is known, and on the published figures."""

import pytest

from results.files import WorkspaceError
from results.studies.findings import Finding, Result, assessed
from results.studies.rlhf import study as rlhf
from results.studies.rlhf.cells import SUPERVISED, Cell, arm
from results.studies.rlhf.scores import published_scores
from results.studies.rlhf.statements import BASELINES, FILE, read_statements
from tests.results.lab import Lab
from tests.results.studies.rlhf.lab import ARMS, SEEDS, scores_of, study, true_kl, win

STATEMENTS = read_statements()


def found_in(lab: Lab) -> dict[str, Finding]:
    return assessed(scores_of(lab), STATEMENTS, BASELINES)


def parts(finding: Finding) -> dict[str, Result]:
    return {each.part: each for each in finding.results}


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, Finding]:
    cells = [*ARMS, arm("negative_kl"), Cell(SUPERVISED)]
    return found_in(study(tmp_path_factory.mktemp("rlhf") / "runs", cells, facts=True))


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("Y1", "holds"),
        ("Y2", "holds"),
        ("F1", "no data"),
        ("F2", "holds"),
        ("F3", "holds"),
        ("F4", "holds"),
        ("F5", "leans"),  # the best checkpoint is the same in every seed: no spread to judge by
        ("F8", "holds"),
        ("F9", "holds"),
        ("F11", "not testable"),
        ("F13", "no data"),
    ],
)
def test_what_is_true_of_the_world_is_found(found: dict[str, Finding], name: str, verdict: str) -> None:
    assert found[name].verdict == verdict


def test_the_reward_rises_from_the_first_rollout_to_the_last_ten(found: dict[str, Finding]) -> None:
    one = parts(found["Y1"])["no penalty"]
    assert one.comparison == "mean of the last 10 less the first"
    assert one.conclusion.effect.mean == pytest.approx(4.4, abs=0.05)
    assert one.replicates == "3 seeds"
    assert parts(found["Y1"])["all arms"].conclusion.compared == len(ARMS) + 1


def test_the_true_kl_of_a_strong_penalty_is_below_that_of_none_over_seeds(found: dict[str, Finding]) -> None:
    (one,) = found["Y2"].results
    gap = true_kl(arm("kl", "strong"), 50) - true_kl(arm("none"), 50)
    assert (one.conclusion.effect.mean, one.replicates) == (pytest.approx(gap, abs=0.005), "3 seeds")
    assert one.conclusion.effect.high < 0


def test_a_policy_that_runs_away_in_one_seed_decides_nothing(tmp_path) -> None:
    def flat(cell: Cell, seed: int, step: int) -> float:
        return 0.5 + (0.1 * seed if cell.regularizer == "jensen_shannon" else 0.0)

    found = found_in(study(tmp_path / "runs", [arm("jensen_shannon"), arm("kl"), arm("none")], wins=flat))
    assert {one.conclusion.verdict for one in found["F3"].results} == {"leans"}


def test_each_published_step_is_the_checkpoint_as_far_along(found: dict[str, Finding]) -> None:
    """60, 100, 140 and 180 of 180 are 20, 30, 40 and 50 of 50."""
    places = dict(zip(("step 60", "step 100", "step 140", "step 180"), (20, 30, 40, 50), strict=True))
    for part, step in places.items():
        one = parts(found["F2"])[part]
        means = [sum(100 * win(cell, seed, step) for seed in SEEDS) / 3 for cell in (arm("none"), arm("kl"))]
        assert (one.left, one.right) == pytest.approx(tuple(means))


def test_the_best_is_above_every_other_arm_of_its_coefficient(found: dict[str, Finding]) -> None:
    one = parts(found["F3"])["step 100"]
    assert one.conclusion.effect.mean == pytest.approx(4.0, abs=0.1)  # dropout only is a point above the rest
    assert one.replicates == "3 seeds"


def test_factuality_before_and_after_in_the_same_run(found: dict[str, Finding]) -> None:
    one = parts(found["F9"])["LoRA"]
    assert (one.comparison, one.conclusion.effect.mean) == (
        "less FActScore before",
        pytest.approx(-20, abs=0.1),
    )
    assert parts(found["F9"])["full tuning"].conclusion.verdict == "no data"


def test_a_small_store_says_nothing_of_large_models(tmp_path) -> None:
    tiny, paper = (study(tmp_path / scale, [arm("kl")], scale=scale) for scale in ("tiny", "paper"))
    verdicts = [found_in(lab)["F11"].verdict for lab in (tiny, paper)]
    assert verdicts == ["not testable", "leans"]  # all seeds took the same memory
    assert found_in(tiny)["F11"].results[0].note.startswith("said of scale paper, not of tiny")


def test_published_evidence_comes_out_as_stated() -> None:
    found = assessed(published_scores(), STATEMENTS, BASELINES)
    assert found["F1"].results[0].conclusion.effect.mean == pytest.approx(3.1)
    gaps = [each.conclusion.effect.mean for each in found["F2"].results]
    assert gaps == pytest.approx([1.9, 1.5, 0.2, 0.6])
    best = parts(found["F3"])
    assert best["step 100"].conclusion.effect.mean == pytest.approx(49.8 - 48.2)
    assert best["all checkpoints"].conclusion.effect.mean == pytest.approx(51.9 - 50.2)
    assert [each.conclusion.effect.mean for each in found["F4"].results] == pytest.approx(
        [1.0, 0.124 - 0.177]
    )
    assert found["F8"].results[0].conclusion.effect.mean == pytest.approx(48.7 - 37.0)
    assert found["F5"].results[0].conclusion.verdict == "holds"
    leaning = {name for name, one in found.items() if one.verdict == "leans"}
    assert leaning == {"F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8", "F12"}
    assert {name for name, one in found.items() if one.verdict == "no data"} == {
        "F9",
        "F10",
        "F11",
        "F13",
        "F14",
        "Y1",
        "Y2",
    }


def test_large_divergence_is_a_claim_on_the_arms_that_went_there() -> None:
    found = assessed(published_scores(), STATEMENTS, BASELINES)["F7"].results[0]
    assert (found.conclusion.agree, found.conclusion.compared) == (2, 2)
    assert found.conclusion.effect.mean == pytest.approx(((45.4 - 49.9) + (38.3 - 48.7)) / 2)


def test_findings_of_a_workspace_beside_the_published_ones(tmp_path) -> None:
    lab = study(tmp_path / "runs", [arm("kl", "strong"), arm("none")], seeds=[0])
    table, _ = rlhf.findings(lab.workspace, published=True)
    (row,) = [row for row in table.rows if row[0] == "Y2"]
    assert (row[8], row[-1]) == ("leans", "no data")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("reading: peak", "reading: summit", "Input should be 'best'"),
        (
            "at: [60",
            "reading: best\n      at: [60",
            "`at` is for a study along its steps, and excludes `reading`",
        ),
        ("against: other_arms", "against: supervised", "goes with `against: other_arms`"),
        ("{regularizer: kl, coefficient: weak}", "{regulariser: kl}", "unknown factor 'regulariser'"),
    ],
)
def test_a_mistake_in_the_statements_is_one_message(tmp_path, old: str, new: str, message: str) -> None:
    path, text = tmp_path / "mine.yaml", FILE.read_text()
    assert old in text
    place = text.index(f"      {old}") if f"      {old}" in text else text.index(old)
    path.write_text(text[:place] + text[place:].replace(old, new, 1))
    with pytest.raises(WorkspaceError) as error:
        read_statements(path)
    assert str(path) in str(error.value) and message in str(error.value)
