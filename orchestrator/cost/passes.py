"""The work of one pass of a batch through a transformer, forward and backward.

A matrix of n weights costs 2n operations for each token forward, 2n for the gradient of its inputs and, where it
is trained, 2n for that of its weights. Scores and mixing of attention cost 4 times heads times head size for each
earlier token. Beside the products, kernels of eager PyTorch read and write activations; the bytes below are counts
of those tensors in bfloat16 with float32 where transformers, PEFT and autocast upcast.
"""

from dataclasses import dataclass

from orchestrator.cost.accelerators import Work
from orchestrator.cost.architecture import Architecture
from workers.specs.model import LoraRecipe, ModelRecipe, QuantizationRecipe

NORM_BYTES = 36
"""A norm in float32, for each value: cast, square, mean, scale, cast back, weight."""
RESIDUAL_BYTES = 6
ROTARY_BYTES = 22
"""Rotary positions, for each value of a query or key: rotate, two products, a sum."""
ATTENTION_BYTES = 8
"""Queries, keys and values in, mixture out, for each hidden value; scores stay on the chip."""
GATE_BYTES = 10
"""The activation and its product with the gate, for each inner value."""
PLAIN_BYTES = {"norm": 16, "residual": 10, "dropout": 5, "activation": 16}
"""The same of GPT-2, whose residual stream is in float32 under autocast and passes through dropout."""
ADAPTER_IN_BYTES = 21
"""A LoRA module's input, for each value: to float32, dropout with its mask, back to the computing type."""
ADAPTER_OUT_BYTES = 12
"""A LoRA module's output: written, scaled, added."""
LOGIT_BYTES = 14
"""A logit: written, to float32, normalised."""
NF4_SCALE_BYTES = 4 / 64
"""One float32 scale for each block of 64 weights (QLoRA, arXiv 2305.14314, section 3)."""

LAYER_KERNELS = 50
ADAPTER_KERNELS = 10
DEQUANTIZE_KERNELS = 3
HEAD_KERNELS = 20

DTYPE_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
STORED_BYTES = {"nf4": 0.5 + NF4_SCALE_BYTES, "fp4": 0.5 + NF4_SCALE_BYTES, "int8": 1.0}


@dataclass(frozen=True)
class Model:
    """A model as a stage holds it: its shape, how its weights are stored, and the adapter on it."""

    shape: Architecture
    dtype: str = "bfloat16"
    quantization: QuantizationRecipe | None = None
    adapter: LoraRecipe | None = None
    flash: bool = False

    @classmethod
    def of(
        cls,
        shape: Architecture,
        recipe: ModelRecipe,
        quantization: QuantizationRecipe | None = None,
        adapter: LoraRecipe | None = None,
        autocast: str = "none",
    ) -> "Model":
        """The model that a recipe loads; `autocast` is the type that its products are computed in."""
        stored = quantization or (adapter.quantization if adapter is not None else None)
        dtype = recipe.dtype if autocast == "none" else autocast
        return cls(shape, dtype, stored, adapter, recipe.attention == "flash_attention_2")

    @property
    def frozen(self) -> bool:
        """Whether only an adapter is trained."""
        return self.adapter is not None

    @property
    def targets(self) -> list[tuple[int, int]]:
        """Inputs and outputs of the modules of a layer that carry the adapter."""
        return self.shape.targets(self.adapter.target_modules) if self.adapter is not None else []

    @property
    def adapter_weights(self) -> int:
        """Trainable weights of the adapter in one layer."""
        rank = self.adapter.rank if self.adapter is not None else 0
        return sum(rank * (inputs + outputs) for inputs, outputs in self.targets)

    @property
    def trainable(self) -> int:
        """Weights that an optimizer moves."""
        return self.shape.layers * self.adapter_weights if self.frozen else self.shape.parameters

    @property
    def dtype_bytes(self) -> float:
        """Bytes of a value in the computing type."""
        return DTYPE_BYTES[self.dtype]

    @property
    def disk_bytes(self) -> float:
        """Bytes of the model's files: two for each weight, whatever they become in memory."""
        return 2.0 * self.shape.parameters


def forward(model: Model, rows: float, length: float, scored: float | None = None, past: float = 0.0) -> Work:
    """A batch of `rows` sequences of `length` tokens after `past` cached ones.

    Logits are made of `scored` positions of a row (None: of all).
    """
    body = (
        _products(model, rows * length) + _attention(model, rows, length, past) + _layers(model, rows, length)
    )
    return body + _head(model, rows * (length if scored is None else scored))


def gradient(model: Model, rows: float, length: float, recompute: bool) -> Work:
    """Forward and backward of a batch of `rows` sequences of `length` tokens; `recompute`: gradient checkpointing.

    A backward pass moves twice the activations of a forward one; stored weights are made whole in every pass.
    """
    tokens = rows * length
    products, attention = _products(model, tokens), _attention(model, rows, length, 0.0)
    layers, head = _layers(model, rows, length), _head(model, tokens)
    adapter = _adapter_products(model, tokens)
    frozen = products + attention * 2.0 + _activations(model, tokens) * 2.0 + _dequantization(model)
    weights = adapter if model.frozen else products
    again = products + attention + layers if recompute else Work()
    top = head * (2.0 if model.frozen else 3.0)
    return products + attention + layers + again + frozen + weights + top


def optimizer(model: Model) -> Work:
    """AdamW in float32: weight, gradient and two moments are read, all but the gradient written."""
    return Work(traffic=28.0 * model.trainable, kernels=100.0)


def _products(model: Model, tokens: float) -> Work:
    """The linear modules of all layers, adapters among them."""
    weights = model.shape.layers * model.shape.layer_weights
    products = Work(operations=2.0 * tokens * weights, weights=model.dtype_bytes * weights)
    return products + _adapter_products(model, tokens)


def _adapter_products(model: Model, tokens: float) -> Work:
    return Work(operations=2.0 * tokens * model.shape.layers * model.adapter_weights)


def _attention(model: Model, rows: float, length: float, past: float) -> Work:
    """Scores and mixing; a flash kernel skips what a causal mask hides, others compute it."""
    shape = model.shape
    seen = past + (length / 2 if model.flash else length)
    operations = 4.0 * rows * length * seen * shape.layers * shape.heads * shape.head_size
    cache = 2.0 * rows * past * shape.layers * shape.key_value_heads * shape.head_size * model.dtype_bytes
    return Work(operations=operations, traffic=cache)


def _layers(model: Model, rows: float, length: float) -> Work:
    return _activations(model, rows * length) + _dequantization(model)


def _activations(model: Model, tokens: float) -> Work:
    """What element-wise kernels of all layers move, and how many kernels a layer launches."""
    shape = model.shape
    moved = _gated_bytes(shape) if shape.gated else _plain_bytes(shape)
    moved += sum(ADAPTER_IN_BYTES * inputs + ADAPTER_OUT_BYTES * outputs for inputs, outputs in model.targets)
    kernels = LAYER_KERNELS + ADAPTER_KERNELS * len(model.targets)
    return Work(traffic=float(shape.layers * tokens * moved), kernels=float(shape.layers * kernels))


def _gated_bytes(shape: Architecture) -> int:
    rotated = (shape.heads + shape.key_value_heads) * shape.head_size
    hidden = 2 * NORM_BYTES + 2 * RESIDUAL_BYTES + ATTENTION_BYTES
    return hidden * shape.hidden + ROTARY_BYTES * rotated + GATE_BYTES * shape.intermediate


def _plain_bytes(shape: Architecture) -> int:
    hidden = 2 * sum(PLAIN_BYTES[name] for name in ("norm", "residual", "dropout")) + ATTENTION_BYTES
    return hidden * shape.hidden + PLAIN_BYTES["activation"] * shape.intermediate


def _dequantization(model: Model) -> Work:
    """Every stored weight is read, and written in the computing type, once a pass."""
    if model.quantization is None:
        return Work()
    shape = model.shape
    each = STORED_BYTES[model.quantization.format] + model.dtype_bytes
    kernels = DEQUANTIZE_KERNELS * len(shape.projections) * shape.layers
    return Work(traffic=each * shape.layers * shape.layer_weights, kernels=float(kernels))


def _head(model: Model, positions: float) -> Work:
    shape = model.shape
    return Work(
        operations=2.0 * positions * shape.head_weights,
        weights=model.dtype_bytes * shape.head_weights,
        traffic=LOGIT_BYTES * positions * shape.vocabulary,
        kernels=float(HEAD_KERNELS),
    )
