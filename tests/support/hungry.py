"""A stage that asks torch for memory: so much for each row of its micro-batch."""

from tests.support.toys import Weight
from workers.context import StageContext, StageResult, metric
from workers.kinds import Kind
from workers.recipe import Recipe

MEGABYTE = 2**20


class HungryRecipe(Recipe):
    """Hold `megabytes` for each row that is computed together; `training.batch_size` are all the rows."""

    megabytes: int = 1
    training: Weight = Weight(steps=1, batch_size=8)


def run(recipe: HungryRecipe, context: StageContext) -> StageResult:
    """Fill the memory of every part of the batch and add up its rows."""
    import torch

    batch = recipe.training.batch_size
    part = min(context.execution.micro_batch or batch, batch)
    rows = 0.0
    for _ in range(batch // part):
        rows += float(torch.ones(part, recipe.megabytes * MEGABYTE // 4)[:, 0].sum())
    return StageResult([metric("hungry", rows, primary=True)])


HUNGRY = Kind("hungry", 1, HungryRecipe, "tests.support.hungry:run", reference="tests.support.hungry:HUNGRY")
