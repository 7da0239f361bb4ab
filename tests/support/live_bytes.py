"""The most bytes that live tensors hold at once, on the CPU as a GPU's allocator would count them."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the storages of given tensors and of all that operators make, each once, until the last one lets go.

    Invariant: `now` is the sum of all counted storages that live; `peak` its maximum after any operator, the backward
    pass included. Buffers inside an operator are not seen, nor what lived before and was not given.
    """

    def __init__(self, tensors: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()
        self.now = 0
        self._known: dict[int, int] = {}
        for tensor in tensors:
            self._count(tensor)
        self.peak = self.now

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operator and count what it returns."""
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf)
        self.peak = max(self.peak, self.now)
        return found

    def _count(self, tensor: torch.Tensor) -> None:
        if tensor.device.type == "meta":
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._known:
            self._known[key] = storage.nbytes()
            self.now += storage.nbytes()
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.now -= self._known.pop(key)


def tensors_in(*holders: Any) -> list[torch.Tensor]:
    """Parameters and buffers of modules, the state of optimizers, and what quantized weights are scaled by."""
    found: list[torch.Tensor] = []
    for holder in holders:
        if isinstance(holder, torch.nn.Module):
            found += [*holder.parameters(), *holder.buffers()]
            states = (getattr(each, "quant_state", None) for each in holder.parameters())
            found += [tensor for state in states if state is not None for tensor in _scales(state)]
        else:
            state = [value for kept in holder.state.values() for value in kept.values()]
            found += [value for value in state if isinstance(value, torch.Tensor)]
    return found


def _scales(state: Any) -> list[torch.Tensor]:
    """The scales of 4-bit weights, and in double quantization the scales of these."""
    nested = _scales(state.state2) if state.state2 is not None else []
    return [state.absmax, *nested]
