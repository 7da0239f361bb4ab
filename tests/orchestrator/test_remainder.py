"""What is left to do: exactly the unfinished stages that can still run, as they were last submitted."""

import pytest

from orchestrator.remainder import remainder, remaining_work, shapes_of, submitted_executions
from results.files import WorkspaceError
from results.layout import Workspace
from tests.orchestrator.lab import SHAPE, Lab, chosen, stage_id, study
from workers.recipe import Execution


def left(lab: Lab, *experiments: str) -> list[str]:
    view = lab.view()
    names = {row.stage: f"{row.kind}" for plan in view.plans for row in plan.stages}
    return [names[item.stage] for item in remainder(view, chosen(view, *experiments), {})]


def test_one_experiment_needs_its_stages_and_what_they_stand_on_in_order(lab: Lab) -> None:
    assert left(lab, "dpo/s0") == ["pretrain", "dpo", "evaluate"]


def test_a_shared_stage_is_left_once(lab: Lab) -> None:
    assert sorted(left(lab)) == sorted(
        ["pretrain", "sft", "evaluate", "sft", "evaluate", "dpo", "evaluate", "dpo", "evaluate"]
    )


def test_what_is_done_is_not_left(lab: Lab) -> None:
    lab.finish("base", "train-dpo-0")
    assert left(lab, "dpo/s0") == ["evaluate"]


def test_a_finished_stage_does_not_need_its_parents_again(lab: Lab) -> None:
    lab.finish("train-dpo-0", "eval-dpo-0")
    assert left(lab, "dpo/s0") == []


def test_a_running_stage_is_left_so_that_someone_can_take_it_over(lab: Lab) -> None:
    lab.finish("base")
    lab.claim("train-dpo-0")
    assert left(lab, "dpo/s0") == ["dpo", "evaluate"]


@pytest.mark.parametrize("outcome", ["bug", "diverged"])
def test_what_failed_or_diverged_is_left_out_with_what_stands_on_it(lab: Lab, outcome: str) -> None:
    lab.finish("base")
    if outcome == "bug":
        lab.fail("train-dpo-0")
    else:
        lab.finish("train-dpo-0", outcome="diverged")
    assert left(lab, "dpo/s0") == []
    assert left(lab, "dpo/s1") == ["dpo", "evaluate"]


def test_held_stages_are_left_out(lab: Lab) -> None:
    lab.finish("base", "train-sft-0", "train-sft-1", "train-dpo-0")
    lab.fail("eval-sft-0", "eval-sft-1", "eval-dpo-0")
    assert left(lab, "dpo/s1") == ["dpo"]


def test_items_name_their_parents_by_id_and_carry_the_execution(lab: Lab) -> None:
    view = lab.view()
    execution = Execution(micro_batch=2)
    items = remainder(view, chosen(view, "sft/s0"), {stage_id("train-sft-0"): execution})
    assert [item.parents for item in items] == [
        (),
        (stage_id("base"),),
        (stage_id("base"), stage_id("train-sft-0")),
    ]
    assert [item.execution for item in items] == [Execution(), execution, Execution()]
    assert [item.cost for item in items] == [60.0, 30.0, 10.0]


def test_a_stage_goes_on_as_it_was_last_submitted(lab: Lab) -> None:
    lab.submit("20260101-000000-aaaaaa", 1.0, base=Execution(micro_batch=1), train_sft_0=Execution())
    lab.submit("20260102-000000-aaaaaa", 2.0, base=Execution(micro_batch=4))
    executions, _ = submitted_executions(lab.workspace)
    assert executions == {stage_id("base"): Execution(micro_batch=4), stage_id("train-sft-0"): Execution()}


def test_of_two_submissions_in_one_second_the_later_counts(lab: Lab) -> None:
    lab.submit("20260101-000000-ffffff", 1.0, base=Execution(micro_batch=1))
    lab.submit("20260101-000000-000000", 1.5, base=Execution(micro_batch=4))
    executions, _ = submitted_executions(lab.workspace)
    assert executions[stage_id("base")].micro_batch == 4


def test_without_submissions_there_are_no_executions(lab: Lab) -> None:
    assert submitted_executions(lab.workspace) == ({}, {})


def test_a_damaged_submission_is_named(lab: Lab) -> None:
    lab.submit("20260101-000000-aaaaaa", 1.0, base=Execution())
    path = lab.workspace.submissions / "20260101-000000-aaaaaa.json"
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(WorkspaceError, match=r"20260101-000000-aaaaaa\.json"):
        submitted_executions(lab.workspace)


def test_shapes_come_from_every_plan_and_the_newest_wins(tmp_path) -> None:
    longer = {**SHAPE, "hours": 9.0}
    newer = study(created=2.0, shapes={"cpu1": longer, "gpu1": {**SHAPE, "gpus": 1.0}})
    shapes = shapes_of(Lab(Workspace(tmp_path), [study(), newer]).view())
    assert shapes == {"cpu1": longer, "gpu1": {**SHAPE, "gpus": 1.0}}


def test_remaining_work_is_ready_to_dispatch(lab: Lab) -> None:
    lab.finish("base")
    view = lab.view()
    work = remaining_work(view, chosen(view, "sft/s0"), "the plan")
    assert [item.kind for item in work.items] == ["sft", "evaluate"]
    assert (work.shapes, work.hub_map, work.plan) == ({"cpu1": SHAPE}, {}, "the plan")
