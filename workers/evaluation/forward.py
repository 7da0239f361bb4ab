"""One forward pass of a causal language model, with no more work than its caller needs."""

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch


def base_model(model: Any) -> Any:
    """The transformers model inside a PEFT wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def takes(model: Any, name: str) -> bool:
    """Whether the architecture's forward pass has a parameter called `name`."""
    return name in _parameters(type(base_model(model)).forward)


@lru_cache(maxsize=64)
def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def logits_at(
    model: Any, ids: torch.Tensor, positions: torch.Tensor, past: Any | None = None
) -> torch.Tensor:
    """Logits (rows, len(positions), vocabulary) after the tokens at `positions`, which all rows share.

    `past` is a key-value cache of what stands before `ids` in every row; positions count from `ids`. The
    output layer runs on these positions alone where the architecture allows it: with a large vocabulary and
    long prompts that is most of the memory.
    """
    device = model.device
    ids, positions = ids.to(device), positions.to(device)
    before = {"use_cache": False} if past is None else _after(past, ids)
    if takes(model, "logits_to_keep"):
        logits: torch.Tensor = model(input_ids=ids, logits_to_keep=positions, **before).logits
        return logits
    return model(input_ids=ids, **before).logits[:, positions]  # type: ignore[no-any-return]


def _after(past: Any, ids: torch.Tensor) -> dict[str, Any]:
    """What a forward pass is told about the tokens before `ids`."""
    start = past.get_seq_length()
    positions = torch.arange(start, start + ids.shape[1], device=ids.device)
    return {"use_cache": True, "past_key_values": past, "position_ids": positions.expand(ids.shape)}


def last_logits(model: Any, **inputs: Any) -> tuple[torch.Tensor, Any]:
    """Logits (rows, vocabulary) after the last token, and the key-value cache."""
    if takes(model, "logits_to_keep"):
        inputs["logits_to_keep"] = 1
    result = model(use_cache=True, **inputs)
    return result.logits[:, -1], result.past_key_values
