"""Exact resume within a rollout, within an update and between steps, in every preset of the grid."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from orchestrator.grid import load_grid
from orchestrator.plan import plan_grid
from tests.support.training import PREFERENCES, VICUNA, Lab, Ran
from tests.workers.ppo.lab import ADAPTER, STEPS, ppo_recipe
from workers.checkpoints import newest_of
from workers.context import Parent, StageStopped
from workers.recipe import Execution
from workers.specs.ppo import PPO, PpoRecipe

GRID = Path(__file__).parents[3] / "grids" / "rlhf.yaml"
PRESETS = ("corrected", "as-published", "as-intended")
PARTS = Execution(device="cpu", micro_batch=2)
LOOKS = {"mid-rollout": 10, "mid-update": 14, "between steps": 16}
"""A step of 8 episodes in parts of 2 and 4 optimizer steps looks 4 times in its rollout, 3 times in its update, once at
its end.
"""
Parents = tuple[Parent, Parent]


@cache
def recipe_of(preset: str) -> PpoRecipe:
    """The grid's own recipe of a preset, with its flaws, and sizes that take a second."""
    found = plan_grid(load_grid(GRID, preset=preset, cells="published"))
    recipe = next(one.recipe for one in found.stages if one.kind.name == "ppo" and one.recipe.adapter.dropout)
    assert isinstance(recipe, PpoRecipe)
    training = {"steps": STEPS, "batch_size": 4, "epochs": 2, "learning_rate": 5e-3, "warmup_steps": 1}
    if recipe.training.accumulation == "repeat":
        training |= {"batch_size": 8, "repeats": 2}
    return recipe.model_copy(
        update={
            "adapter": ADAPTER,
            "preferences": PREFERENCES,
            "template": VICUNA,
            "rollout": recipe.rollout.model_copy(
                update={"batch_size": 8, "new_tokens": 6, "prompt_tokens": 40}
            ),
            "training": recipe.training.model_copy(update=training),
        }
    )


@pytest.fixture
def parents(base: Parent, reward: Parent) -> Parents:
    return base, reward


@pytest.fixture(scope="module")
def wholes() -> dict[str, Ran]:
    """Runs without a stop, by preset."""
    return {}


def interrupted(lab: Lab, recipe: PpoRecipe, parents: Parents, calls: int) -> Path:
    """The checkpoint of a run that is asked to stop at its `calls`-th look."""
    context = lab.context(lab.stage(PPO, recipe, parents), parents, execution=PARTS, memory={})
    seen = iter(range(1, 10_000))
    context.stop_requested = lambda: next(seen) == calls
    with pytest.raises(StageStopped):
        PPO.load_runner()(recipe, context)
    found = newest_of(list(context.checkpoints.glob("[0-9]*")))
    assert found is not None
    return found


def where(checkpoint: Path) -> tuple[int, int, bool]:
    """Finished steps, episodes of the running one, and whether they were measured."""
    episodes = json.loads((checkpoint / "progress.json").read_text())["episodes"]
    return int(checkpoint.name), len(episodes), bool(load_file(checkpoint / "experience.safetensors"))


PLACES = {"mid-rollout": (1, 4, False), "mid-update": (1, 8, True), "between steps": (2, 0, False)}


@pytest.mark.parametrize("place", LOOKS)
@pytest.mark.parametrize("preset", PRESETS)
def test_resume_is_exact_anywhere(
    lab: Lab, parents: Parents, wholes: dict[str, Ran], preset: str, place: str
) -> None:
    recipe = recipe_of(preset)
    if preset not in wholes:
        wholes[preset] = lab.run(PPO, recipe, parents, execution=PARTS)
    checkpoint = interrupted(lab, recipe, parents, LOOKS[place])
    assert where(checkpoint) == PLACES[place]
    resumed = lab.run(PPO, recipe, parents, execution=PARTS, resume_from=checkpoint, memory={})
    assert resumed.bytes() == wholes[preset].bytes()
    assert resumed.result.metrics == wholes[preset].result.metrics


@pytest.mark.parametrize(
    "others",
    [
        {"value_backbone": "policy"},
        {"regularizer": {"penalty": "kl", "coefficient": 0.5, "adaptive": {}}},
        {"regularizer": {"penalty": "js_full", "coefficient": 0.5, "placement": "loss"}},
    ],
    ids=["value on the policy's backbone", "adaptive coefficient", "penalty in the loss"],
)
def test_further_settings_resume_in_the_middle_of_an_update(
    lab: Lab, parents: Parents, others: dict[str, Any]
) -> None:
    recipe = PpoRecipe.model_validate(ppo_recipe().model_dump() | others)
    whole = lab.run(PPO, recipe, parents, execution=PARTS)
    checkpoint = interrupted(lab, recipe, parents, LOOKS["mid-update"])
    resumed = lab.run(PPO, recipe, parents, execution=PARTS, resume_from=checkpoint, memory={})
    assert resumed.bytes() == whole.bytes()


def test_the_presets_are_those_of_the_grid() -> None:
    import yaml

    assert set(yaml.safe_load(GRID.read_text())["presets"]) == set(PRESETS)
