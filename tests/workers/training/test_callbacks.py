"""When checkpoints, snapshots and stops happen; the reference stage's own checkpoints; replay in full."""

import pytest

from tests.support.training import (
    DPO,
    NF4,
    REFERENCE,
    SFT,
    STEPS,
    Lab,
    dpo_recipe,
    lora,
    reference_recipe,
    sft_recipe,
)
from workers.checkpoints import newest_checkpoint
from workers.context import StageStopped
from workers.recipe import Execution
from workers.training.reference import FILE, read_reference


def names(directory) -> list[str]:
    return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []


def test_checkpoints_by_steps_keep_the_newest_two(lab: Lab, base):
    recipe = sft_recipe(seed=61)
    ran = lab.run(SFT, recipe, (base,), execution=Execution(device="cpu", checkpoint_steps=2))
    assert names(ran.output.parent / "checkpoints") == ["000004", "000006"]
    assert ran.seconds["save"] > 0


def test_checkpoints_by_seconds(lab: Lab, base):
    execution = Execution(device="cpu", checkpoint_seconds=1e-6)
    ran = lab.run(SFT, sft_recipe(seed=62), (base,), execution=execution)
    assert names(ran.output.parent / "checkpoints") == ["000006", "000007"]


def test_saving_changes_no_number(lab: Lab, base, reference):
    plain = lab.run(DPO, dpo_recipe(seed=63), (base, reference))
    execution = Execution(device="cpu", checkpoint_steps=1, snapshots=(1, 2, 3))
    saving = lab.run(DPO, dpo_recipe(seed=63), (base, reference), execution=execution)
    assert saving.bytes() == plain.bytes()
    assert saving.result.metrics == plain.result.metrics


def test_snapshots_at_given_steps(lab: Lab, base):
    execution = Execution(device="cpu", snapshots=(1, 5, STEPS, 99))
    ran = lab.run(SFT, sft_recipe(seed=64), (base,), execution=execution)
    assert names(ran.output / "snapshots") == ["000001", "000005"]
    assert names(ran.output / "snapshots" / "000005" / "adapter") == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_a_stop_at_the_last_step_is_the_end(lab: Lab, base):
    ran = lab.run(SFT, sft_recipe(seed=65), (base,), stop_requested=lambda: False)
    stage = lab.stage(SFT, sft_recipe(seed=65), (base,))
    context = lab.context(stage, (base,))
    steps: list[int] = []
    context.on_progress = lambda step, total: steps.append(step)
    context.stop_requested = lambda: bool(steps) and steps[-1] == STEPS
    assert stage.kind.load_runner()(stage.recipe, context).metrics == ran.result.metrics
    assert steps == list(range(STEPS + 1))


def test_phases_account_for_the_time(lab: Lab, base):
    seconds = lab.run(SFT, sft_recipe(seed=66), (base,)).seconds
    assert set(seconds) == {"load", "compute", "save"}
    assert all(value > 0 for value in seconds.values())


def test_the_reference_stage_resumes(lab: Lab, base):
    recipe = reference_recipe(seed=67, batch_size=8)
    whole = lab.run(REFERENCE, recipe, (base,))
    checkpoint = lab.interrupt(REFERENCE, recipe, (base,), 16)
    assert checkpoint.name == "000016"
    resumed = lab.run(REFERENCE, recipe, (base,), resume_from=checkpoint)
    assert resumed.bytes() == whole.bytes()
    assert whole.value("pairs") == 40


def test_reference_rows_do_not_depend_on_what_ran_before(lab: Lab, base):
    recipe = reference_recipe(quantization=NF4, seed=68)
    first = lab.run(REFERENCE, recipe, (base,), memory={})
    lab.run(SFT, sft_recipe(adapter=lora(NF4), seed=68), (base,))
    assert lab.run(REFERENCE, recipe, (base,)).bytes() == first.bytes()


def test_reference_rows_are_shared_by_seeds(lab: Lab, base, reference):
    """A fixed subset: other seeds reorder it and find every row."""
    for seed in (1, 2):
        assert lab.run(DPO, dpo_recipe(seed=seed), (base, reference)).result.outcome == "done"


def test_reference_files_say_what_they_hold_for(base, reference):
    rows = read_reference(reference, f"stage:{base.stage.id}", "float32")
    assert len(rows.values) == 40
    assert all(chosen < 0 and rejected < 0 for chosen, rejected in rows.values.values())
    assert read_reference(None, "any", "any") is None
    assert (reference.output / FILE).is_file()


def test_a_stopped_reference_leaves_a_checkpoint_and_no_output(lab: Lab, base):
    recipe = reference_recipe(seed=69)
    stage = lab.stage(REFERENCE, recipe, (base,))
    context = lab.context(stage, (base,), stop_requested=lambda: True)
    with pytest.raises(StageStopped):
        stage.kind.load_runner()(recipe, context)
    assert newest_checkpoint(lab.workspace, stage.id).name == "000008"
    assert not (context.output / FILE).exists()


@pytest.mark.slow
@pytest.mark.parametrize("at", range(1, STEPS))
@pytest.mark.parametrize("quantization", [None, NF4])
def test_every_step_resumes_exactly(lab: Lab, base, at, quantization):
    adapter = lora(quantization)
    for kind, recipe in ((SFT, sft_recipe(adapter=adapter)), (DPO, dpo_recipe(adapter=adapter))):
        whole = lab.run(kind, recipe, (base,))
        checkpoint = lab.interrupt(kind, recipe, (base,), at, memory={})
        resumed = lab.run(kind, recipe, (base,), resume_from=checkpoint, memory={})
        assert resumed.bytes() == whole.bytes()
        assert resumed.result.metrics == whole.result.metrics


@pytest.mark.slow
@pytest.mark.parametrize("steps", [(2, 5), (1, 2, 3, 4, 5, 6, 7)])
def test_many_interruptions_in_a_row(lab: Lab, base, steps):
    recipe = dpo_recipe(adapter=lora(NF4), seed=70)
    whole = lab.run(DPO, recipe, (base,))
    checkpoint = None
    for at in steps:
        checkpoint = lab.interrupt(DPO, recipe, (base,), at, resume_from=checkpoint, memory={})
    resumed = lab.run(DPO, recipe, (base,), resume_from=checkpoint, memory={})
    assert resumed.bytes() == whole.bytes()
    assert resumed.result.metrics == whole.result.metrics
