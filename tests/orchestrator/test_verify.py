"""Verification: what is damaged is found and named; repair sets it aside and never touches what is sound."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.verify import verify
from results.layout import Workspace
from tests.orchestrator.lab import Lab, stage_id
from tests.support.toys import TOY, ToyRecipe
from workers.attempts import Attempt
from workers.recipe import Execution
from workers.stage import Stage

FOUR = ["base", "train-sft-0", "eval-sft-0", "train-dpo-0"]


def done_file(lab: Lab, name: str) -> Path:
    return lab.workspace.done_file(stage_id(name))


def output(attempt: Attempt) -> Path:
    return attempt.directory / "output" / "value.txt"


def cut(path: Path) -> None:
    """Lose the second half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_a_sound_workspace_has_no_problems(lab: Lab) -> None:
    lab.finish(*FOUR)
    attempt = lab.claim("eval-dpo-0")
    lab.checkpoint(attempt, 10)
    lab.checkpoint(attempt, 20)
    report = verify(lab.workspace)
    assert (report.stages, report.commits, report.checkpoints) == (5, 4, 2)
    assert report.problems == report.repaired == []


def test_an_empty_workspace_has_no_problems(tmp_path) -> None:
    report = verify(Workspace(tmp_path))
    assert (report.stages, report.problems) == (0, [])


def test_looking_changes_nothing(lab: Lab) -> None:
    output(lab.finish(*FOUR)).write_text("changed")
    cut(done_file(lab, "base"))
    before = lab.tree()
    assert len(verify(lab.workspace).problems) == 2
    assert lab.tree() == before


def test_repairing_a_sound_workspace_changes_nothing(lab: Lab) -> None:
    lab.finish(*FOUR)
    before = lab.tree()
    assert verify(lab.workspace, repair=True).repaired == []
    assert lab.tree() == before


@pytest.mark.parametrize("damage", ["changed", "missing", "another file"])
def test_an_output_that_is_not_what_was_committed(lab: Lab, damage: str) -> None:
    attempt = lab.finish("base")
    match damage:
        case "changed":
            output(attempt).write_text("the output of bose")
        case "missing":
            output(attempt).unlink()
        case "another file":
            output(attempt).with_name("more.txt").touch()
    report = verify(lab.workspace)
    directory = attempt.directory / "output"
    assert report.problems == [f"{directory}: the output is not what was committed"]


def test_snapshots_may_come_and_go(lab: Lab) -> None:
    attempt = lab.finish("base")
    (attempt.directory / "output" / "snapshots").mkdir()
    (attempt.directory / "output" / "snapshots" / "000010.bin").touch()
    assert verify(lab.workspace).problems == []


@pytest.mark.parametrize("damage", ["the marker", "the output"])
def test_repair_makes_a_damaged_stage_pending_and_claimable(lab: Lab, damage: str) -> None:
    attempt = lab.finish("base")
    cut(done_file(lab, "base") if damage == "the marker" else output(attempt))
    report = verify(lab.workspace, repair=True)
    assert report.repaired[-1] == f"stage {stage_id('base')}: struck from the index"
    assert lab.view().survey.stages[stage_id("base")] == "pending"
    assert list(lab.workspace.stage(stage_id("base")).glob("damaged-done.json-*"))
    assert lab.claim("base").record["number"] == 2


def test_a_repaired_stage_can_be_committed_again(lab: Lab) -> None:
    output(lab.finish("base")).unlink()
    verify(lab.workspace, repair=True)
    lab.finish("base")
    assert lab.done() == {stage_id("base")}
    assert verify(lab.workspace).problems == []


def test_a_damaged_checkpoint_is_named_with_what_is_wrong_and_set_aside(lab: Lab) -> None:
    attempt = lab.claim("base")
    good, bad = lab.checkpoint(attempt, 10), lab.checkpoint(attempt, 20)
    (bad / "state.bin").write_bytes(b"\1" * 1000)
    assert verify(lab.workspace).problems == [f"{bad}: state.bin does not have its checksum"]
    (repaired,) = verify(lab.workspace, repair=True).repaired
    assert repaired.startswith(f"{bad} set aside as damaged-000020-")
    assert good.is_dir() and not bad.exists()
    assert verify(lab.workspace).checkpoints == 1


def test_a_checkpoint_that_is_still_being_written_is_no_problem(lab: Lab) -> None:
    attempt = lab.claim("base")
    lab.checkpoint(attempt, 10)
    (attempt.directory / "checkpoints" / ".000020.abcdef").mkdir()
    report = verify(lab.workspace)
    assert (report.checkpoints, report.problems) == (1, [])


def test_lost_journals_are_written_again_from_the_truth(lab: Lab) -> None:
    lab.finish(*FOUR)
    shutil.rmtree(lab.workspace.journals)
    assert lab.done() == set()
    report = verify(lab.workspace)
    assert report.problems == [
        f"stage {stage}: committed, but in no journal" for stage in sorted(map(stage_id, FOUR))
    ]
    verify(lab.workspace, repair=True)
    assert lab.done() == {stage_id(name) for name in FOUR}


def test_a_journalled_stage_without_a_marker_is_struck_from_the_index(lab: Lab) -> None:
    lab.finish("base", "train-sft-0")
    done_file(lab, "base").unlink()
    assert verify(lab.workspace).problems == [
        f"stage {stage_id('base')}: in a journal, but without a sound done.json"
    ]
    verify(lab.workspace, repair=True)
    assert lab.done() == {stage_id("train-sft-0")}


def test_a_damaged_description_of_a_stage_is_found(tmp_path) -> None:
    workspace = Workspace(tmp_path)
    stage = Stage.create(TOY, ToyRecipe(value=3.0))
    stage.write(workspace)
    cut(workspace.stage_file(stage.id))
    (problem,) = verify(workspace).problems
    assert problem.startswith(f"{workspace.stage_file(stage.id)}: not readable as JSON")
    verify(workspace, repair=True)
    stage.write(workspace)
    assert Stage.read(workspace, stage.id) == stage
    assert verify(workspace).problems == []


def test_a_damaged_description_does_not_cost_the_commit_beside_it(lab: Lab) -> None:
    """After the repair the stage must be done, or somebody must be able to do it again."""
    lab.workspace.stage_file(stage_id("base")).parent.mkdir(parents=True)
    lab.workspace.stage_file(stage_id("base")).write_text('{"id": ')
    lab.finish("base")
    verify(lab.workspace, repair=True)
    claimable = lab.worker("worker-2").claim(stage_id("base"), "toy", {}) is not None
    assert claimable or lab.done() == {stage_id("base")}


def test_a_colon_in_the_name_of_a_workspace_does_not_move_another_directory(tmp_path) -> None:
    """Two workspaces, `runs` and `runs:old`; what is damaged lies in the second."""
    mine = tmp_path / "runs"
    mine.mkdir()
    lab = Lab(Workspace(tmp_path / "runs:old"))
    lab.finish("base")
    cut(done_file(lab, "base"))
    verify(lab.workspace, repair=True)
    assert mine.is_dir()
    assert not done_file(lab, "base").exists()


@pytest.mark.parametrize(
    "what",
    [
        "plan",
        "submission",
        "attempt",
    ],
)
def test_a_damaged_file_whose_readers_say_that_repair_sets_it_aside_is_set_aside(lab: Lab, what: str) -> None:
    """`read_json` tells the user of any damaged file that `yates verify --repair` sets it aside."""
    lab.submit("20260101-000000-aaaaaa", 1.0, base=Execution())
    attempt = lab.fail("base", ending="preempted")
    (plan,) = lab.workspace.plans.glob("*.json")
    path = {
        "plan": plan,
        "submission": lab.workspace.submissions / "20260101-000000-aaaaaa.json",
        "attempt": attempt.directory / "attempt.json",
    }[what]
    cut(path)
    report = verify(lab.workspace, repair=True)
    assert any(problem.startswith(f"{path}:") for problem in report.problems)
    assert not path.exists()


DAMAGES = st.dictionaries(
    st.sampled_from(FOUR), st.sampled_from(["marker", "no marker", "output", "no output"])
)


@settings(max_examples=15, deadline=None)
@given(damages=DAMAGES, lose_journals=st.booleans())
def test_after_a_repair_nothing_is_wrong_and_all_that_was_sound_is_kept(
    tmp_path_factory, damages, lose_journals
) -> None:
    lab = Lab(Workspace(tmp_path_factory.mktemp("verify")))
    attempts = {name: lab.finish(name) for name in FOUR}
    for name, damage in damages.items():
        match damage:
            case "marker":
                cut(done_file(lab, name))
            case "no marker":
                done_file(lab, name).unlink()
            case "output":
                cut(output(attempts[name]))
            case "no output":
                output(attempts[name]).unlink()
    if lose_journals:
        shutil.rmtree(lab.workspace.journals)
    verify(lab.workspace, repair=True)
    assert verify(lab.workspace).problems == []
    assert lab.done() == {stage_id(name) for name in FOUR if name not in damages}
