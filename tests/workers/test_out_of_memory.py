"""Memory that runs out where a stage computes: it heals by itself, by a smaller micro-batch and nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch

from results.files import read_json
from results.layout import Workspace
from results.records import AttemptRecord, Ending
from tests.support.grids import index_of, submit_toys
from tests.support.hungry import HUNGRY, HungryRecipe
from tests.support.limited import run_limited
from tests.support.training import PRETRAIN, WORLD, Lab, pretrain_recipe, sft_recipe, short
from workers.endings import classify
from workers.failures import whole_batch
from workers.recipe import Execution, Recipe
from workers.specs.data import TextData
from workers.specs.model import ModelRecipe, ModelShape
from workers.specs.ppo import PpoRecipe
from workers.stage import Stage

BATCH = 4
VOCABULARY = 32_768


@dataclass
class Outcome:
    """A stage that was run by a supervisor: its attempts, oldest first, and what the last one left."""

    attempts: list[AttemptRecord]
    output: Path
    peak: int

    @property
    def tries(self) -> list[tuple[Ending | None, int | None]]:
        return [(one["ending"], one["execution"]["micro_batch"]) for one in self.attempts]

    def bytes(self) -> dict[str, bytes]:
        files = (path for path in self.output.rglob("*") if path.is_file())
        return {str(path.relative_to(self.output)): path.read_bytes() for path in files}

    def losses(self) -> list[float]:
        curves = pd.read_parquet(self.output / "curves.parquet")
        return curves[curves["name"] == "loss"]["value"].to_list()


def supervise(root: Path, stage: Stage, micro_batch: int | None = None, limit: int | None = None) -> Outcome:
    """Run a stage in a workspace of its own, under `limit` bytes of address space."""
    workspace = Workspace(root)
    execution = Execution(device="cpu", micro_batch=micro_batch)
    peak = run_limited(workspace, submit_toys(workspace, [stage], execution=execution), limit)
    ended = index_of(workspace).endings.get(stage.id, [])
    done = read_json(workspace.done_file(stage.id))
    ended = [one for one in ended if one["token"] != done["attempt"]]
    return Outcome([*ended, done["record"]], workspace.output(stage.id, done["attempt"]), peak)


def between(low: Outcome, high: Outcome) -> int:
    """A limit that the one run stays below and the other does not."""
    assert high.peak - low.peak > 50 * 2**20, "the micro-batch makes no difference to memory"
    return (low.peak + high.peak) // 2


def wide_training(dropout: float) -> Stage:
    """A pre-training whose logits, 32,768 words wide, are most of its memory."""
    shape = ModelShape(
        hidden_size=16,
        layers=1,
        heads=2,
        key_value_heads=1,
        intermediate_size=32,
        vocabulary_multiple=VOCABULARY,
        dropout=dropout,
    )
    recipe = pretrain_recipe(
        model=ModelRecipe(shape=shape), data=TextData(source=WORLD, block=256), training=short(3)
    )
    assert whole_batch(recipe) == BATCH
    return Stage.create(PRETRAIN, recipe)


def test_the_allocators_failure_on_a_cpu_is_one_of_the_device_that_computes() -> None:
    with pytest.raises(RuntimeError) as failure:
        torch.empty(2**50)
    ending, message = classify(failure.value)
    assert ending == "gpu_out_of_memory"
    assert "can't allocate memory" in message


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_libraries_on_a_gpu_that_say_so_in_their_own_words(message: str) -> None:
    assert classify(RuntimeError(message))[0] == "gpu_out_of_memory"


def test_other_failures_of_torch_are_bugs() -> None:
    with pytest.raises(RuntimeError) as failure:
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert classify(failure.value)[0] == "bug"


def test_the_batch_that_a_micro_batch_divides() -> None:
    assert whole_batch(sft_recipe()) == 4
    assert whole_batch(PpoRecipe()) == PpoRecipe().rollout.batch_size
    assert whole_batch(Recipe()) == 1


def test_a_supervised_stage_heals_under_a_real_limit(tmp_path: Path) -> None:
    stage = Stage.create(HUNGRY, HungryRecipe(megabytes=100))
    alone = supervise(tmp_path / "alone", stage, micro_batch=2)
    limit = alone.peak + 100 * 2**20  # two rows fit, four do not
    healed = supervise(tmp_path / "healed", stage, limit=limit)
    assert healed.tries == [("gpu_out_of_memory", None), ("gpu_out_of_memory", 4), ("done", 2)]
    assert healed.attempts[-1]["fingerprint"]["micro_batch"] == 2
    assert all(one["message"] and "allocate" in one["message"] for one in healed.attempts[:-1])


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    yield Lab(tmp_path / "lab")


def test_a_smaller_micro_batch_goes_on_from_the_checkpoint(lab: Lab) -> None:
    """Without dropout it ends where the run does that had it from the start, but for the last bits."""
    recipe = pretrain_recipe(training=short(6))
    small = Execution(device="cpu", micro_batch=1)
    whole = lab.run(PRETRAIN, recipe, execution=small)
    checkpoint = lab.interrupt(PRETRAIN, recipe, (), 3)
    healed = lab.run(PRETRAIN, recipe, execution=small, resume_from=checkpoint)
    left, right = (pd.read_parquet(one.output / "curves.parquet") for one in (healed, whole))
    losses = left["name"] == "loss"
    assert left[["step", "name"]].equals(right[["step", "name"]])
    assert left[losses]["value"].to_list() == pytest.approx(right[losses]["value"].to_list(), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_training_that_heals_equals_the_run_with_the_smaller_micro_batch(
    tmp_path: Path, dropout: float
) -> None:
    """Replayed from step 0, bit for bit: weights, losses, every file; with dropout too."""
    stage = wide_training(dropout)
    small = supervise(tmp_path / "small", stage, micro_batch=BATCH // 2)
    large = supervise(tmp_path / "large", stage)
    assert small.tries == [("done", 2)] and large.tries == [("done", None)]
    healed = supervise(tmp_path / "healed", stage, limit=between(small, large))
    assert healed.tries == [("gpu_out_of_memory", None), ("done", 2)]
    assert healed.attempts[-1]["resumed_from"] is None
    assert healed.bytes() == small.bytes()
    assert healed.losses() == small.losses()
    same = large.losses() if dropout else healed.losses()
    assert same == pytest.approx(large.losses(), rel=1e-5)
