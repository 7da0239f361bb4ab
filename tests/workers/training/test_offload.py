"""DeepSpeed with its optimizer, or its weights too, in the host's memory: two processes against one that has all."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.together import Team, distance, divided, largest_curve_difference, stage_of
from tests.support.training import PRETRAIN, Lab
from tests.workers.training.test_divided import recipe_of, recipe_of_smollm2
from workers.checkpoints import newest_checkpoint
from workers.context import Parent
from workers.endings import ProcessesFailed
from workers.recipe import Execution
from workers.stage import Stage

pytest.importorskip("deepspeed", reason="needs yates[deepspeed]")
pytestmark = pytest.mark.slow
TOLERANCE = 1e-5
"""Of the joint norm of all weights, and of every logged figure by the largest of its curve."""
PLACES = [
    ("deepspeed-zero2", "optimizer"),
    ("deepspeed-zero3", "optimizer"),
    ("deepspeed-zero3", "weights"),
]


def stage_with(lab: Lab, base: Parent, name: str) -> tuple[Stage, tuple[Parent, ...]]:
    kind, recipe = recipe_of(name)
    parents = () if kind is PRETRAIN else (base,)
    return stage_of(lab, kind, recipe, parents), parents


def one_process(lab: Lab, stage: Stage, parents: tuple[Parent, ...], place: Path) -> Path:
    """What one process leaves, out of the way of other attempts."""
    execution = Execution(device="cpu", micro_batch=2)
    ran = lab.run(stage.kind, stage.recipe, parents, execution=execution)
    kept = Path(shutil.copytree(ran.output, place))
    shutil.rmtree(lab.workspace.attempts(stage.id))
    return kept


def interrupted(lab: Lab, stage: Stage, execution: Execution) -> None:
    """An attempt that is killed in its fifth step; the checkpoint of the fourth is left."""
    with pytest.raises(ProcessesFailed):
        Team(lab, stage, execution, "killed", kill=(1, 5)).run()
    checkpoint = newest_checkpoint(lab.workspace, stage.id)
    assert checkpoint is not None and checkpoint.name == "000004"


def compare(ours: Path, theirs: Path, record_property: Any) -> None:
    weights, losses = distance(ours, theirs), largest_curve_difference(ours, theirs)
    for name, value in {"weights": weights, "losses": losses}.items():
        record_property(name, value)
        print(f"{name}={value:.2e}", end=" ")
    assert weights < TOLERANCE
    assert losses < TOLERANCE


@pytest.mark.parametrize(("strategy", "offload"), PLACES)
@pytest.mark.parametrize("name", ["sft", "whole sft", "dpo", "pretrain"])
def test_killed_and_resumed_it_ends_at_the_weights_of_one_process(
    lab: Lab, base: Parent, strategy: str, offload: str, name: str, tmp_path: Path, record_property: Any
) -> None:
    stage, parents = stage_with(lab, base, name)
    kept = one_process(lab, stage, parents, tmp_path / "one")
    execution = divided(strategy, offload=offload, checkpoint_steps=2)
    interrupted(lab, stage, execution)
    rest = Team(lab, stage, execution, "rest")
    two = rest.run()
    assert rest.steps[:2] == [0, 5]
    assert {path.relative_to(two.output) for path in two.output.rglob("*")} == {
        path.relative_to(kept) for path in kept.rglob("*")
    }
    compare(two.output, kept, record_property)


@pytest.mark.parametrize(("strategy", "offload"), PLACES)
@pytest.mark.parametrize("back", [False, True], ids=["there", "back"])
def test_checkpoints_serve_each_other(
    lab: Lab, base: Parent, strategy: str, offload: str, back: bool, tmp_path: Path, record_property: Any
) -> None:
    """With dropout; against the same processes uninterrupted, nothing moved to the host."""
    stage, _ = stage_with(lab, base, "sft with dropout")
    offloaded = divided(strategy, offload=offload, checkpoint_steps=2)
    resident = divided(strategy, checkpoint_steps=2)
    whole = Team(lab, stage, resident, "whole").run()
    kept = Path(shutil.copytree(whole.output, tmp_path / "whole"))
    shutil.rmtree(lab.workspace.attempts(stage.id))
    first, second = (offloaded, resident) if back else (resident, offloaded)
    interrupted(lab, stage, first)
    rest = Team(lab, stage, second, "rest")
    found = rest.run()
    assert rest.steps[:2] == [0, 5]
    compare(found.output, kept, record_property)


@pytest.mark.parametrize(("strategy", "offload"), PLACES)
def test_a_kill_changes_no_bit(lab: Lab, base: Parent, strategy: str, offload: str) -> None:
    """With dropout; against the same processes with the same offloading, uninterrupted."""
    stage, _ = stage_with(lab, base, "sft with dropout")
    execution = divided(strategy, offload=offload, checkpoint_steps=2)
    whole = Team(lab, stage, execution, "whole").run()
    expected = whole.bytes()
    shutil.rmtree(lab.workspace.attempts(stage.id))
    interrupted(lab, stage, execution)
    rest = Team(lab, stage, execution, "rest").run()
    assert rest.bytes() == expected
    assert rest.result.metrics == whole.result.metrics


@pytest.mark.parametrize(("strategy", "offload"), PLACES)
def test_a_real_model(tmp_path: Path, strategy: str, offload: str, record_property: Any) -> None:
    """SFT of SmolLM2-135M-Instruct with LoRA: killed in the third of four steps, resumed from the second."""
    lab, (kind, recipe) = Lab(tmp_path), recipe_of_smollm2("sft")
    stage = stage_of(lab, kind, recipe)
    execution = Execution(device="cpu", micro_batch=1)
    one = lab.run(kind, recipe, execution=execution)
    kept = Path(shutil.copytree(one.output, tmp_path / "one"))
    shutil.rmtree(lab.workspace.attempts(stage.id))
    execution = divided(strategy, offload=offload, checkpoint_steps=2)
    with pytest.raises(ProcessesFailed):
        Team(lab, stage, execution, "killed", kill=(1, 3)).run()
    rest = Team(lab, stage, execution, "rest")
    two = rest.run()
    assert rest.steps[:2] == [0, 3]
    compare(two.output, kept, record_property)
