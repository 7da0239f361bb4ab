"""Quantized pre-training: which tensors are rounded to few bits, how, and which products see the rounded ones.

Sections are those of the brief of the quantization study (Chitsaz et al., arXiv 2407.11722).
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from workers.recipe import Settings, refused

AXES = re.compile(r"tensor|row|column|group:[1-9][0-9]*")


def _known_axis(axis: str) -> str:
    if AXES.fullmatch(axis) is None:
        raise refused("must be 'tensor', 'row', 'column' or groups within a row such as 'group:128'")
    return axis


ScaleAxis = Annotated[str, AfterValidator(_known_axis)]
"""What shares one scale (section 4.2): the whole tensor; a row (output channel of W, token of A and G); a column
(input feature of W and A, output feature of G); `group:128`, so many neighbours within a row."""

Code = Literal["signed", "unsigned", "nonzero", "logarithmic"]
Products = Literal["none", "weight", "input", "both"]

NAMES = {
    "weights": {"row": "per channel", "column": "per input feature"},
    "activations": {"row": "per token", "column": "per channel"},
    "gradients": {"row": "per token", "column": "per channel"},
    "moments": {"row": "per row", "column": "per column"},
}


class Quantizer(Settings):
    """A uniform quantizer (section 4.1); `floor` is the least range that a scale is made for.

    `stochastic` rounds up with the probability that leaves the mean as it was; `nearest` rounds half to even.
    """

    bits: int = Field(default=8, ge=2, le=8)
    axis: ScaleAxis = "row"
    symmetric: bool = True
    rounding: Literal["nearest", "stochastic"] = "nearest"
    floor: float = Field(default=1e-5, ge=0)


class GradientQuantizer(Quantizer):
    """That of output gradients. `split_projection` gives the thirds of a fused Q, K, V projection own scales."""

    floor: float = Field(default=1e-9, ge=0)
    split_projection: bool = False


class MomentQuantizer(Settings):
    """That of an optimizer state (section 4.5).

    Codes: `signed` is the symmetric one, whose negative half a second moment leaves unused; `unsigned` has levels
    0 … 2^b - 1; `nonzero` 1 … 2^b; `logarithmic` 2^b levels in geometric steps over `octaves` below the largest.
    """

    bits: int = Field(default=8, ge=2, le=8)
    axis: ScaleAxis = "row"
    code: Code = "signed"
    rounding: Literal["nearest", "stochastic"] = "nearest"
    floor: float = Field(default=1e-8, ge=0)
    octaves: float = Field(default=32.0, gt=0)


class QuantizedTraining(Settings):
    """Fake quantization of the linear layers and of their optimizer states, from the first step on.

    Forward `Y = Qa(X) Qw(W)^T + b` (section 4.4). `gradient_products` says which of `dX = G W` and `dW = G^T X`
    take `Qg(G)`; `backward_operands` whether W and X enter them as they are or quantized; `clamp_mask` stops the
    gradient of entries that the clamp cuts. `head` includes the output head. `tying: broken` gives the head a copy
    of the embedding, trained apart, where the two are tied. `arithmetic: integer` demands scales that can leave an
    integer product; `simulated` allows any.
    """

    weights: Quantizer | None = None
    activations: Quantizer | None = None
    gradients: GradientQuantizer | None = None
    gradient_products: Products = "weight"
    backward_operands: Literal["full", "quantized"] = "full"
    clamp_mask: bool = False
    head: bool = False
    tying: Literal["kept", "broken"] = "kept"
    arithmetic: Literal["simulated", "integer"] = "simulated"
    first_moment: MomentQuantizer | None = None
    second_moment: MomentQuantizer | None = None

    @property
    def linear(self) -> bool:
        """Whether any linear layer computes with rounded tensors."""
        return any((self.weights, self.activations, self.gradients))

    @property
    def moments(self) -> bool:
        """Whether an optimizer state is rounded."""
        return self.first_moment is not None or self.second_moment is not None

    @model_validator(mode="after")
    def _combination_makes_sense(self) -> "QuantizedTraining":
        if self.first_moment is not None and self.first_moment.code != "signed":
            raise refused(f"a first moment has both signs; code {self.first_moment.code!r} has none")
        if self.arithmetic == "integer":
            reasons = [reason for found in obstacles(self).values() for reason in found]
            if reasons:
                raise refused(f"no integer arithmetic: {'; '.join(reasons)}")
        return self


def obstacles(recipe: QuantizedTraining) -> dict[str, list[str]]:
    """For each product of a linear layer, why its quantized factors do not make an integer product.

    A scale can leave a sum only if it is the same for all of its terms (section 4.4). A product one of whose
    factors is not quantized has an obstacle too; one that no quantizer touches is left out.
    """
    back = recipe.backward_operands == "quantized"
    input_gradient = recipe.gradients if recipe.gradient_products in ("input", "both") else None
    weight_gradient = recipe.gradients if recipe.gradient_products in ("weight", "both") else None
    factors = {
        "forward": (("activations", recipe.activations, "row"), ("weights", recipe.weights, "row")),
        "input gradient": (
            ("gradients", input_gradient, "row"),
            ("weights", recipe.weights if back else None, "column"),
        ),
        "weight gradient": (
            ("gradients", weight_gradient, "column"),
            ("activations", recipe.activations if back else None, "column"),
        ),
    }
    return {
        product: [reason for factor in pair for reason in _obstacle(product, *factor)]
        for product, pair in factors.items()
        if any(quantizer is not None for _, quantizer, _ in pair)
    }


def granularity(target: str, axis: str) -> str:
    """The name of a scale axis in the study's tables: W row is per channel, A and G row per token."""
    if axis.startswith("group:"):
        return f"groups of {axis.partition(':')[2]}"
    return NAMES[target].get(axis, "per tensor")


def _obstacle(product: str, target: str, quantizer: Quantizer | None, axis: str) -> list[str]:
    """Why a factor keeps a product from integers; `axis` is the one that its sum leaves whole."""
    if quantizer is None:
        return [f"the {product} product takes {target} that are not quantized"]
    if quantizer.axis in ("tensor", axis):
        return []
    found, needed = granularity(target, quantizer.axis), granularity(target, axis)
    return [
        f"{target} {found} change their scale within the sum of the {product} product; it needs {needed} "
        "or per tensor"
    ]
