"""The prompts of an online training, in the order in which TRL's trainers ask for them."""

from collections.abc import Sequence
from typing import Any, overload

from workers.ppo.prompts import Tokens, prompts_of_step
from workers.specs.online import OnlineRecipe

Row = dict[str, Any]


class GenerationRows(Sequence[Row]):
    """One row for each completion of each micro-batch that is passed, made when it is asked for.

    TRL reads a whole generation batch for every micro-batch and uses the first of those that belong to one
    generation, so the rows of a generation come `passes` times. Each prompt stands `num_generations` times in a row;
    generation k has the prompts that PPO step k of the same seed and as many prompts has. It depends on the arguments
    alone, so a resumed training needs no place in the data.
    """

    def __init__(self, prompts: list[Tokens], recipe: OnlineRecipe, micro_batches: int) -> None:
        self.prompts, self.recipe = prompts, recipe
        together, batch = recipe.generated_together, recipe.training.batch_size
        self.passes = micro_batches * (together // batch) * recipe.num_iterations
        self._length = recipe.training.steps * micro_batches * together
        self._kept: tuple[int, list[Tokens]] = (-1, [])

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        """The row at a place, as ids under `prompt`; IndexError behind the last."""
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        if not 0 <= place < len(self):
            raise IndexError(place)
        batch, position = divmod(place, self.recipe.generated_together)
        prompts = self._generation(batch // self.passes)
        return {"prompt": list(prompts[position // self.recipe.num_generations])}

    def _generation(self, number: int) -> list[Tokens]:
        if self._kept[0] != number:
            count = self.recipe.generated_together // self.recipe.num_generations
            self._kept = (number, prompts_of_step(self.prompts, number, count, self.recipe.seed))
        return self._kept[1]
