"""The three matrix products of a linear layer on quantized factors (quantization study, section 4.4)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from workers.quantization.rounding import Dice
from workers.quantization.uniform import UniformQuantizer, uniform_quantizer
from workers.specs.quantized import QuantizedTraining


@dataclass(frozen=True)
class Scheme:
    """What a linear layer rounds, and which products see it.

    `input_gradient` and `weight_gradient` say whether dX and dW take `Qg(G)`; `quantized_operands` whether W and X
    enter them quantized. `parts` cuts the columns of G into so many parts with scales of their own.
    """

    weight: UniformQuantizer | None = None
    activation: UniformQuantizer | None = None
    gradient: UniformQuantizer | None = None
    input_gradient: bool = False
    weight_gradient: bool = False
    quantized_operands: bool = False
    clamp_mask: bool = False
    parts: int = 1

    def gradient_of(self, gradient: Tensor) -> Tensor:
        """`Qg(G)` for G of shape (tokens, out), in the type of G."""
        assert self.gradient is not None
        if self.parts == 1:
            return self.gradient(gradient).to(gradient.dtype)
        parts = [self.gradient(part) for part in gradient.chunk(self.parts, dim=-1)]
        return torch.cat(parts, dim=-1).to(gradient.dtype)


def scheme_of(recipe: QuantizedTraining, dice: Dice, parts: int = 1) -> Scheme:
    """The scheme of a recipe for a layer whose output is a fused projection of `parts` parts."""
    found = recipe.gradients
    return Scheme(
        weight=uniform_quantizer(recipe.weights, dice) if recipe.weights else None,
        activation=uniform_quantizer(recipe.activations, dice) if recipe.activations else None,
        gradient=uniform_quantizer(found, dice) if found else None,
        input_gradient=found is not None and recipe.gradient_products in ("input", "both"),
        weight_gradient=found is not None and recipe.gradient_products in ("weight", "both"),
        quantized_operands=recipe.backward_operands == "quantized",
        clamp_mask=recipe.clamp_mask,
        parts=parts if found is not None and found.split_projection else 1,
    )


class QuantizedProducts(torch.autograd.Function):
    """`Y = Qa(X) Qw(W)^T + b`; backward `dX = G' W'`, `dW = G''^T X'`, `db` the sum of G over tokens.

    G' and G'' are G or `Qg(G)`, W' and X' the factors with or without their quantizers, as the scheme says; the
    straight-through estimator passes the gradient through rounding, and with `clamp_mask` through the clamp only
    where it cut nothing. Shapes: X (tokens, in), W (out, in), b (out), G (tokens, out). Products are computed in
    `dtype`; gradients come back in the type of what they belong to.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, scheme: Scheme, dtype: torch.dtype
    ) -> Tensor:
        """Y in `dtype`."""
        rounded_inputs, inputs_inside = _quantized(scheme.activation, inputs, scheme.clamp_mask)
        rounded_weight, weight_inside = _quantized(scheme.weight, weight, scheme.clamp_mask)
        rounded_inputs, rounded_weight = rounded_inputs.to(dtype), rounded_weight.to(dtype)
        kept = (rounded_inputs, rounded_weight) if scheme.quantized_operands else (inputs, weight)
        ctx.save_for_backward(*kept, inputs_inside, weight_inside)
        ctx.scheme, ctx.dtypes = scheme, (inputs.dtype, weight.dtype, None if bias is None else bias.dtype)
        return functional.linear(rounded_inputs, rounded_weight, None if bias is None else bias.to(dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """(dX, dW, db), each None where nobody asks for it."""
        (gradient,) = gradients
        inputs, weight, inputs_inside, weight_inside = ctx.saved_tensors
        scheme: Scheme = ctx.scheme
        rounded = (
            scheme.gradient_of(gradient) if scheme.input_gradient or scheme.weight_gradient else gradient
        )
        of_inputs = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            factor = rounded if scheme.input_gradient else gradient
            of_inputs = _masked(factor @ weight.to(gradient.dtype), inputs_inside).to(ctx.dtypes[0])
        if ctx.needs_input_grad[1]:
            factor = rounded if scheme.weight_gradient else gradient
            of_weight = _masked(factor.t() @ inputs.to(gradient.dtype), weight_inside).to(ctx.dtypes[1])
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(0).to(ctx.dtypes[2])
        return of_inputs, of_weight, of_bias, None, None


def quantized_linear(inputs: Tensor, weight: Tensor, bias: Tensor | None, scheme: Scheme) -> Tensor:
    """A linear layer on inputs of shape (…, in) with a weight of shape (out, in), in autocast's type if it is on."""
    kind = inputs.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else inputs.dtype
    apply: Callable[..., Tensor] = QuantizedProducts.apply
    found = apply(inputs.reshape(-1, inputs.shape[-1]), weight, bias, scheme, dtype)
    return found.view(*inputs.shape[:-1], weight.shape[0])


def _quantized(
    quantizer: UniformQuantizer | None, values: Tensor, mask: bool
) -> tuple[Tensor, Tensor | None]:
    return (values, None) if quantizer is None else quantizer.quantize(values, mask=mask)


def _masked(gradient: Tensor, inside: Tensor | None) -> Tensor:
    return gradient if inside is None else gradient * inside
