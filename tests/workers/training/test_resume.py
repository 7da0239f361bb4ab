"""An interrupted and resumed training equals the uninterrupted one, byte for byte."""

import json
from pathlib import Path

import pytest

from tests.support.training import (
    DPO,
    NF4,
    PRETRAIN,
    SFT,
    STEPS,
    Lab,
    Ran,
    dpo_recipe,
    lora,
    pretrain_recipe,
    reference_of,
    run_fresh,
    sft_recipe,
)
from workers.checkpoints import newest_checkpoint, verify_checkpoint
from workers.context import Parent
from workers.recipe import Execution


def assert_resume_exact(lab: Lab, whole: Ran, parents: tuple[Parent, ...], at: int, **others) -> None:
    """Stop `whole`'s stage at a step, continue without anything warm, and compare every byte and metric."""
    kind, recipe = whole.stage.kind, whole.stage.recipe
    checkpoint = lab.interrupt(kind, recipe, parents, at, memory={}, **others)
    assert int(checkpoint.name) == at
    resumed = lab.run(kind, recipe, parents, resume_from=checkpoint, memory={}, **others)
    assert resumed.bytes() == whole.bytes()
    assert resumed.result.metrics == whole.result.metrics


@pytest.mark.parametrize("at", [1, 4, STEPS - 1])
def test_sft_with_lora(lab, base, at):
    whole = lab.run(SFT, sft_recipe(), (base,))
    assert_resume_exact(lab, whole, (base,), at)


@pytest.mark.parametrize("at", [3])
def test_sft_with_qlora(lab, base, at):
    whole = lab.run(SFT, sft_recipe(adapter=lora(NF4)), (base,))
    assert_resume_exact(lab, whole, (base,), at)


def test_sft_of_every_weight(lab, base):
    whole = lab.run(SFT, sft_recipe(adapter=None), (base,))
    assert_resume_exact(lab, whole, (base,), 5)


@pytest.mark.parametrize("at", [1, 5])
def test_dpo_with_reference_rows(lab, base, reference, at):
    whole = lab.run(DPO, dpo_recipe(), (base, reference))
    assert_resume_exact(lab, whole, (base, reference), at)


def test_dpo_with_qlora_and_reference_rows(lab, base):
    parents = (base, reference_of(lab, base, quantization=NF4))
    whole = lab.run(DPO, dpo_recipe(adapter=lora(NF4)), parents)
    assert_resume_exact(lab, whole, parents, 4)


def test_dpo_that_computes_its_own_reference(lab, base):
    whole = lab.run(DPO, dpo_recipe(), (base,))
    assert_resume_exact(lab, whole, (base,), 3)


def test_pretraining(lab):
    whole = lab.run(PRETRAIN, pretrain_recipe())
    assert_resume_exact(lab, whole, (), 7)


def test_micro_batches_resume_exactly(lab, base):
    execution = Execution(device="cpu", micro_batch=2)
    whole = lab.run(SFT, sft_recipe(), (base,), execution=execution)
    assert_resume_exact(lab, whole, (base,), 3, execution=execution)


def test_another_epoch_resumes_exactly(lab, base):
    """40 rows and 4 a step: the second epoch begins at step 11."""
    recipe = sft_recipe(training=sft_recipe().training.model_copy(update={"steps": 14}))
    whole = lab.run(SFT, recipe, (base,))
    assert_resume_exact(lab, whole, (base,), 12)


def test_snapshots_of_the_interrupted_attempt_are_kept(lab, base):
    execution = Execution(device="cpu", snapshots=(2, 6))
    recipe = sft_recipe(seed=11)
    checkpoint = lab.interrupt(SFT, recipe, (base,), 4, execution=execution)
    resumed = lab.run(SFT, recipe, (base,), execution=execution, resume_from=checkpoint)
    assert sorted(path.name for path in (resumed.output / "snapshots").iterdir()) == ["000002", "000006"]


def test_fresh_processes_killed_and_stopped(lab, base):
    """SIGKILL at step 5 (the checkpoint of step 4 is left), a stop at step 6, then the rest: equal to one
    run.
    """
    parents = (base, reference_of(lab, base, quantization=NF4))
    whole = lab.run(DPO, dpo_recipe(adapter=lora(NF4), seed=3), parents)
    stage = whole.stage
    assert run_fresh(lab, stage, "killed", kill=5) == -9
    assert newest_checkpoint(lab.workspace, stage.id).name == "000004"
    assert run_fresh(lab, stage, "stopped", stop=6) == 3
    assert newest_checkpoint(lab.workspace, stage.id).name == "000006"
    assert run_fresh(lab, stage, "rest") == 0
    rest = lab.workspace.attempt(stage.id, "rest")
    again = Ran(stage, rest / "output", whole.result, {})
    assert again.bytes() == whole.bytes()
    assert json.loads((rest / "metrics.json").read_text()) == whole.result.metrics


def test_a_damaged_checkpoint_is_set_aside(lab, base):
    recipe = sft_recipe(seed=5)
    stage = lab.stage(SFT, recipe, (base,))
    lab.interrupt(SFT, recipe, (base,), 6, execution=Execution(device="cpu", checkpoint_steps=3))
    newest = newest_checkpoint(lab.workspace, stage.id)
    assert newest.name == "000006"
    with open(newest / "optimizer.pt", "r+b") as stream:
        stream.seek(100)
        stream.write(b"damage")
    assert "optimizer.pt" in verify_checkpoint(newest)
    before = newest_checkpoint(lab.workspace, stage.id)
    assert before.name == "000003"
    assert [path for path in Path(newest.parent).iterdir() if path.name.startswith("damaged-000006")]
    whole = lab.run(SFT, recipe, (base,))
    assert lab.run(SFT, recipe, (base,), resume_from=before).bytes() == whole.bytes()
