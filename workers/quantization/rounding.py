"""Rounding to whole codes: to the nearest, half to even, or stochastically with a generator of its own."""

from collections.abc import Callable

import torch
from torch import Tensor

from workers.identity import derive_seed

Rounding = Callable[[Tensor], Tensor]
"""Rounds every entry to a whole number beside it; what it was given may be gone afterwards."""


def nearest(values: Tensor) -> Tensor:
    """To the nearest, half to even (quantization study, section 4.1)."""
    return values.round_()


class Dice:
    """The random stream of stochastic rounding.

    Invariant: after `start(step)` the draws depend on the seed and the step alone, so that nothing of it needs
    to be in a checkpoint.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._step = 0
        self._generators: dict[torch.device, torch.Generator] = {}

    def start(self, step: int) -> None:
        """Begin the stream of a step anew on every device."""
        self._step = step
        for device, generator in self._generators.items():
            self._place(generator, device)

    def uniform(self, like: Tensor) -> Tensor:
        """Numbers in [0, 1) of the shape of `like`."""
        generator = self._generators.get(like.device)
        if generator is None:
            generator = self._generators[like.device] = torch.Generator(like.device)
            self._place(generator, like.device)
        return torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)

    def round(self, values: Tensor) -> Tensor:
        """To one of the two neighbours `n <= x < n + 1`, upwards with probability `x - n`: `floor(x + u)`.

        The mean of the result is x; a whole number stays what it is.
        """
        below = values.floor()
        fraction = values.sub_(below)
        return below.add_(self.uniform(fraction) < fraction)

    def _place(self, generator: torch.Generator, device: torch.device) -> None:
        generator.manual_seed(derive_seed(self._seed, f"rounding/{self._step}"))


def rounding_of(name: str, dice: Dice) -> Rounding:
    """The rounding that a recipe calls `nearest` or `stochastic`."""
    return dice.round if name == "stochastic" else nearest
