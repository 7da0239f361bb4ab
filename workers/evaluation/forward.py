"""One forward pass of a causal language model, with no more work than its caller needs."""

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch


def base_model(model: Any) -> Any:
    """The transformers model inside a PEFT wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _selects_positions(model: Any) -> bool:
    return "logits_to_keep" in _parameters(type(base_model(model)).forward)


@lru_cache(maxsize=64)
def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def logits_at(model: Any, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Logits (rows, len(positions), vocabulary) after the tokens at `positions`, which all rows share.

    The output layer runs on these positions alone where the architecture allows it: with a large vocabulary
    and long prompts that is most of the memory.
    """
    device = model.device
    ids, positions = ids.to(device), positions.to(device)
    if _selects_positions(model):
        logits: torch.Tensor = model(input_ids=ids, use_cache=False, logits_to_keep=positions).logits
        return logits
    return model(input_ids=ids, use_cache=False).logits[:, positions]  # type: ignore[no-any-return]


def last_logits(model: Any, **inputs: Any) -> tuple[torch.Tensor, Any]:
    """Logits (rows, vocabulary) after the last token, and the key-value cache."""
    if _selects_positions(model):
        inputs["logits_to_keep"] = 1
    result = model(use_cache=True, **inputs)
    return result.logits[:, -1], result.past_key_values
