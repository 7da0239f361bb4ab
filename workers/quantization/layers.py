"""Quantizers put on the linear layers of a transformers model, and taken off again.

A layer changes its class and nothing else: parameters, their names, their order and their ties stay, so weight decay
groups, checkpoints and parameter counts do not move, and taking the quantizers off leaves every bit as it was.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from workers.quantization.products import Scheme, quantized_linear, scheme_of
from workers.quantization.rounding import Dice
from workers.specs.quantized import QuantizedTraining

FUSED = ("c_attn", "Wqkv", "qkv_proj", "query_key_value")
"""Names of projections to queries, keys and values in one matrix of equal thirds."""
THIRDS = 3


class QuantizedLinear(nn.Linear):
    """An `nn.Linear`, weight (out, in), that computes as `scheme` says."""

    scheme: Scheme

    def forward(self, input: Tensor) -> Tensor:
        """Inputs (…, in) to outputs (…, out)."""
        return quantized_linear(input, self.weight, self.bias, self.scheme)


class QuantizedConv1D(Conv1D):  # type: ignore[misc]
    """GPT-2's `Conv1D`, a linear layer whose weight is (in, out): rows and columns are those of its transpose."""

    scheme: Scheme

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (…, in) to outputs (…, out)."""
        return quantized_linear(x, self.weight.t(), self.bias, self.scheme)


QUANTIZED: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: QuantizedLinear, Conv1D: QuantizedConv1D}
PLAIN = {quantized: plain for plain, quantized in QUANTIZED.items()}


def linear_layers(model: nn.Module, *, head: bool) -> dict[str, nn.Module]:
    """The linear layers of a causal language model by name; the output head only with `head`."""
    find: Any = getattr(model, "get_output_embeddings", None)
    outputs = None if find is None else find()
    return {
        name: module
        for name, module in model.named_modules()
        if (type(module) in QUANTIZED or type(module) in PLAIN) and (head or module is not outputs)
    }


def put_quantizers(model: nn.Module, recipe: QuantizedTraining, dice: Dice) -> list[str]:
    """Let the linear layers compute as `recipe` says; the names of those that do.

    Raises:
        ValueError: the model carries quantizers already.
    """
    if any(type(module) in PLAIN for module in model.modules()):
        raise ValueError("the model carries quantizers already; take them off first")
    if not recipe.linear:
        return []
    found = linear_layers(model, head=recipe.head)
    for name, module in found.items():
        module.scheme = scheme_of(recipe, dice, _parts(name))  # type: ignore[assignment]
        module.__class__ = QUANTIZED[type(module)]
    return list(found)


def take_off_quantizers(model: nn.Module) -> None:
    """Undo `put_quantizers`."""
    for module in model.modules():
        if type(module) in PLAIN:
            module.__class__ = PLAIN[type(module)]
            del module.scheme


@contextmanager
def without_quantizers(model: nn.Module) -> Iterator[None]:
    """Within the body the model computes with its weights as they are."""
    quantized = [module for module in model.modules() if type(module) in PLAIN]
    for module in quantized:
        module.__class__ = PLAIN[type(module)]
    try:
        yield
    finally:
        for module in quantized:
            module.__class__ = QUANTIZED[type(module)]


def untie_head(model: Any) -> None:
    """Give the output head a copy of the embedding as a parameter of its own.

    So did the original of the study by replacing layers after they were tied (section 6, `head_tying`).

    Raises:
        ValueError: head and embedding are not tied.
    """
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head.weight is not embedding.weight:
        raise ValueError("the output head is not tied to the embedding, so there is no tie to break")
    head.weight = nn.Parameter(embedding.weight.detach().clone())
    model.config.tie_word_embeddings = False


def transposed(module: nn.Module) -> bool:
    """Whether a linear layer keeps its weight as (in, out)."""
    return isinstance(module, Conv1D)


def _parts(name: str) -> int:
    return THIRDS if name.rpartition(".")[2] in FUSED else 1
