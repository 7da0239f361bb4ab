"""Which stages are measured, and what they stand on."""

from pathlib import Path

from orchestrator.bench.chain import chain_of, costliest
from orchestrator.bench.measurement import step_seconds
from orchestrator.bench.report import accelerator_named
from orchestrator.cost.accelerators import CPU
from tests.orchestrator.bench.grid import small_plan
from workers.recipe import Resources


def test_one_stage_of_each_name_and_it_is_the_costliest(tmp_path: Path) -> None:
    plan = small_plan(tmp_path)
    chosen = [plan.stages[index] for index in sorted(costliest(plan.stages))]
    assert sorted(one.name for one in chosen) == sorted({one.name for one in plan.stages})
    [sft] = [one for one in chosen if one.name == "sft"]
    assert sft.recipe.adapter.rank == 8, "the larger adapter costs more"
    assert sft.cost == max(one.cost for one in plan.stages if one.name == "sft")


def test_a_chain_holds_what_its_stages_stand_on_first(tmp_path: Path) -> None:
    links = chain_of(small_plan(tmp_path), steps=3)
    for place, link in enumerate(links):
        assert all(parent < place for _, parent in link.parents)
        assert [role for role, _ in link.parents] == [role for role, _ in link.planned.parents]
        assert link.stage.parents == tuple((role, links[at].stage.id) for role, at in link.parents)
    shown = [link.planned.name for link in links if link.shown]
    assert sorted(shown) == ["answers", "dpo", "evaluate", "pretrain", "quality", "reference", "sft"]


def test_stages_are_run_as_the_grid_says_but_for_checkpoints_and_processes(tmp_path: Path) -> None:
    for link in chain_of(small_plan(tmp_path, "machine.checkpoint_steps=1"), steps=3):
        if link.planned.name != "quality":
            assert (link.execution.micro_batch, link.execution.device) == (2, "cpu")
        assert link.execution.checkpoint_steps is None and link.execution.strategy == "single"


def test_judges_at_a_service_are_left_out_and_it_is_said(tmp_path: Path) -> None:
    skipped = {
        link.planned.name: link.skipped for link in chain_of(small_plan(tmp_path), steps=3) if link.skipped
    }
    assert skipped == {"quality": "it asks a service, which costs money"}


def test_a_step_is_the_median_between_two_ends() -> None:
    moments = [(0, 0.0), (1, 9.0), (2, 10.0), (2, 10.5), (3, 13.0), (4, 15.0)]
    assert step_seconds(moments) == 2.0
    assert step_seconds([(0, 0.0), (1, 9.0)]) is None


def test_the_estimate_is_that_of_the_device_at_hand() -> None:
    planned = Resources(gpus=1, gpu_memory_gb=80)
    assert accelerator_named("cpu", planned, 2) == CPU.times(2)
    assert accelerator_named("NVIDIA H200", planned, 1).name == "H200 141GB"
    assert accelerator_named("NVIDIA A100-SXM4-80GB", planned, 1).name == "A100 80GB"
    assert accelerator_named("NVIDIA A10", planned, 1).name == "A10 24GB"
    assert accelerator_named("Unheard Of", planned, 1).name == "A100 80GB"
