"""The prompts of online methods: as often as TRL asks, in PPO's order."""

import pytest
from pydantic import ValidationError

from workers.online.rows import GenerationRows
from workers.ppo.prompts import prompts_of_step
from workers.specs.online import RlooRecipe
from workers.specs.training import Training

PROMPTS = [(place, place) for place in range(7)]


def recipe_of(**others) -> RlooRecipe:
    return RlooRecipe.model_validate(
        {"training": Training(steps=6, batch_size=4), "num_generations": 2, "seed": 3, **others}
    )


@pytest.mark.parametrize("micro_batches", [1, 2])
@pytest.mark.parametrize(("together", "iterations"), [(4, 1), (8, 1), (8, 3)])
def test_every_generation_has_the_prompts_of_a_ppo_step(micro_batches, together, iterations):
    recipe = recipe_of(generation_batch_size=together, num_iterations=iterations)
    rows = GenerationRows(PROMPTS, recipe, micro_batches)
    passes = micro_batches * together // 4 * iterations
    assert len(rows) == 6 * micro_batches * together
    for batch in range(6 * micro_batches):
        mine = [tuple(row["prompt"]) for row in rows[batch * together : (batch + 1) * together]]
        wanted = prompts_of_step(PROMPTS, batch // passes, together // 2, 3)
        assert mine[::2] == mine[1::2] == wanted
    with pytest.raises(IndexError):
        rows[len(rows)]


@pytest.mark.parametrize(
    "others",
    [{"num_generations": 3}, {"generation_batch_size": 6}, {"training": {"validation_steps": 5}}],
)
def test_what_does_not_divide_is_refused(others):
    with pytest.raises(ValidationError, match=r"no multiple of|validation"):
        recipe_of(**others)
