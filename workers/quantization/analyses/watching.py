"""Looking at what passes through linear layers, without changing it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

SeePass = Callable[[str, Tensor, Tensor], None]
"""Takes a layer's name, its input and its output, each (rows, length, features)."""
SeeGradient = Callable[[str, Tensor], None]
"""Takes a layer's name and the gradient of the loss by its output."""


@contextmanager
def watched(layers: Mapping[str, nn.Module], see: SeePass) -> Iterator[None]:
    """Within the body `see` is called after every forward pass of every layer."""
    handles = [module.register_forward_hook(partial(_pass, see, name)) for name, module in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def watched_gradients(layers: Mapping[str, nn.Module], see: SeeGradient) -> Iterator[None]:
    """Within the body `see` is called with the output gradient of every layer in every backward pass."""

    def follow(name: str, inputs: Tensor, output: Tensor) -> None:
        register: Any = output.register_hook
        if output.requires_grad:
            register(partial(_gradient, see, name))

    with watched(layers, follow):
        yield


def _pass(see: SeePass, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
    see(name, inputs[0], output)


@torch.no_grad()
def _gradient(see: SeeGradient, name: str, gradient: Tensor) -> None:
    see(name, gradient)
