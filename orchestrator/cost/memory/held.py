"""A model as memory holds it: how its weights are stored, which of them move, and in which types it computes."""

from dataclasses import dataclass
from typing import Literal

from orchestrator.cost.architecture import Architecture
from orchestrator.cost.passes import DTYPE_BYTES
from workers.specs.model import LoraRecipe, ModelRecipe, QuantizationRecipe
from workers.specs.quantized import QuantizedTraining

SCALE_BLOCK = 64
"""Weights that share one float32 scale in 4 bits (QLoRA, arXiv 2305.14314, section 3)."""
SCALES_TOGETHER = 256
"""Scales that share one float32 in double quantization; each is then one byte."""
FLOAT32 = 4.0

Head = Literal["language", "score"]


@dataclass(frozen=True)
class Held:
    """A model in memory.

    `weight_bytes` are those of a weight outside quantized storage and of the residual stream; `computed` those of
    what linear layers give; both agree unless autocast computes in another type. `trained`: every weight moves
    (then held in float32). `adapter_bytes` are those of a factor of the adapter. `dropout` is the model's own while
    it is trained (GPT-2 made from scratch has 0.1). `rounding` is what quantized pre-training rounds.
    """

    shape: Architecture
    weight_bytes: float
    computed: float
    attention: str = "sdpa"
    storage: QuantizationRecipe | None = None
    adapter: LoraRecipe | None = None
    trained: bool = False
    autocast: bool = False
    adapter_bytes: float = FLOAT32
    dropout: float = 0.0
    head: Head = "language"
    rounding: QuantizedTraining | None = None

    @classmethod
    def of(
        cls,
        shape: Architecture,
        recipe: ModelRecipe,
        *,
        storage: QuantizationRecipe | None = None,
        adapter: LoraRecipe | None = None,
        trained: bool = False,
        autocast: str = "none",
        adapter_dtype: str = "float32",
        dropout: float = 0.0,
        head: Head = "language",
        rounding: QuantizedTraining | None = None,
    ) -> "Held":
        """The model that a recipe loads."""
        weights = FLOAT32 if trained else DTYPE_BYTES[recipe.dtype]
        return cls(
            shape,
            weights,
            weights if autocast == "none" else DTYPE_BYTES[autocast],
            recipe.attention,
            storage or (adapter.quantization if adapter is not None else None),
            adapter,
            trained,
            autocast != "none",
            DTYPE_BYTES[adapter_dtype],
            dropout,
            head,
            rounding,
        )

    @property
    def casts_weights(self) -> bool:
        """Whether products take copies of the weights in another type."""
        return self.computed != self.weight_bytes and self.storage is None

    @property
    def output_weights(self) -> int:
        """Weights of an output layer of its own."""
        return self.shape.head_weights if self.head == "language" and not self.shape.tied else 0

    @property
    def plain_weights(self) -> int:
        """Weights outside the linear modules of the layers: embeddings, output layer, norms and biases."""
        shape = self.shape
        norms = (2 * shape.layers + 1) * shape.hidden * (1 if shape.gated else 2)
        biases = 0 if shape.gated else shape.layers * sum(out for _, out in shape.projections.values())
        return shape.head_weights + self.output_weights + shape.positions * shape.hidden + norms + biases

    @property
    def stored_weight(self) -> float:
        """Bytes of one weight of a linear module."""
        if self.storage is None:
            return self.weight_bytes
        if self.storage.format == "int8":
            return 1.0
        scale = 1.0 + FLOAT32 / SCALES_TOGETHER if self.storage.double_quantization else FLOAT32
        return 0.5 + scale / SCALE_BLOCK

    @property
    def base_bytes(self) -> float:
        """Bytes of all weights but an adapter's."""
        linear = self.shape.layers * self.shape.layer_weights
        return linear * self.stored_weight + self.plain_weights * self.weight_bytes

    @property
    def adapter_weights(self) -> int:
        """Weights of the adapter in all layers."""
        return self.shape.layers * sum(self.rank * (ins + outs) for ins, outs in self.targets.values())

    @property
    def rank(self) -> int:
        """The adapter's rank, 0 without one."""
        return self.adapter.rank if self.adapter is not None else 0

    @property
    def targets(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of the modules of a layer that carry the adapter, by name."""
        wanted = set(self.adapter.target_modules) if self.adapter is not None else set()
        found = self.shape.projections.items()
        return {name: size for name, size in found if wanted & {name, name.rpartition(".")[2]}}

    @property
    def weights(self) -> float:
        """Bytes of all weights, an adapter's among them."""
        return self.base_bytes + self.adapter_weights * self.adapter_bytes

    @property
    def moved(self) -> int:
        """Weights that an optimizer moves."""
        if self.trained:
            return self.shape.layers * self.shape.layer_weights + self.plain_weights
        return self.adapter_weights

    @property
    def moved_bytes(self) -> float:
        """Bytes of a moved weight, and so of its gradient."""
        return FLOAT32 if self.trained else self.adapter_bytes

    @property
    def largest_moved(self) -> int:
        """Weights of the largest tensor that an optimizer moves."""
        if self.trained:
            linear = max(ins * outs for ins, outs in self.shape.projections.values())
            return max(linear, self.shape.head_weights)
        return max((self.rank * max(size) for size in self.targets.values()), default=0)
