"""The highest moment of a training step: at the loss, in a layer's backward pass, or when the weights move."""

from dataclasses import dataclass, replace

from orchestrator.cost.memory.device import Device
from orchestrator.cost.memory.division import WHOLE, Division, Phase
from orchestrator.cost.memory.footprint import Footprint, highest
from orchestrator.cost.memory.heads import final_norm
from orchestrator.cost.memory.held import FLOAT32, Held
from orchestrator.cost.memory.layers import Rows, backward_workspace, cast_weights, saved

STATE_BYTES = {
    "adamw_torch": 8.0,
    "paged_adamw_32bit": 8.0,
    "adamw_bnb_8bit": 2.0 + 2 * FLOAT32 / 256,
    "sgd": 0.0,
}
"""Two moments of each moved weight, in float32, or in a byte each with a float32 scale for 256 (bitsandbytes; tensors
of fewer than 4,096 weights stay in float32, which is left out). Paged ones can leave a GPU that is full; they are
counted as if they stayed."""
TOGETHER = ("adamw_torch",)
"""Optimizers of torch, which make copies while they step."""


@dataclass(frozen=True)
class Step:
    """One training step of a model.

    `logits` are the bytes of the head at its highest; `batches` how many micro-batches add to one gradient.
    `others` are the bytes of models beside it. `division` shares it among processes.
    """

    held: Held
    rows: Rows
    device: Device
    checkpointing: bool = False
    optimizer: str = "adamw_torch"
    batches: int = 1
    logits: float = 0.0
    others: float = 0.0
    division: Division = WHOLE

    @property
    def footprint(self) -> Footprint:
        """What lives together at the step's highest moment, in one process."""
        passes: tuple[tuple[Phase, Footprint], ...] = (
            ("forward", self._forward()),
            ("loss", self._at_loss()),
            ("backward", self._in_last_layer()),
            ("backward", self._in_first_layer()),
            ("end", self._in_embedding()),
        )
        divide, adds_up = self.division, self.batches > 1
        shared = [divide.share(moment, self.held, phase, adds_up=adds_up) for phase, moment in passes]
        return highest(*shared, divide.step(self._in_optimizer(), self.held))

    @property
    def gradients(self) -> float:
        """Bytes of all gradients."""
        return self.held.moved * self.held.moved_bytes

    @property
    def kept(self) -> float:
        """Bytes that the layers keep for the backward pass; with checkpointing their inputs."""
        if self.checkpointing:
            return self.held.shape.layers * self._input
        return self.held.shape.layers * self._layer

    @property
    def _input(self) -> float:
        return self.held.weight_bytes * self.held.shape.hidden * self.rows.tokens

    @property
    def _layer(self) -> float:
        return saved(self.held, self.rows, self.device) + cast_weights(self.held)

    def _resting(self) -> Footprint:
        """What lives all the time: weights, the optimizer's state, and gradients that wait for more."""
        state = STATE_BYTES[self.optimizer] * self.held.moved
        waiting = self.gradients if self.batches > 1 else 0.0
        return Footprint(weights=self.held.weights, gradients=waiting, optimizer=state, others=self.others)

    def _forward(self) -> Footprint:
        return replace(self._resting(), activations=self.kept)

    def _at_loss(self) -> Footprint:
        activations = self.kept + final_norm(self.held, self.rows.tokens)
        return replace(self._resting(), activations=activations, logits=self.logits) + self._head_gradient()

    def _in_last_layer(self) -> Footprint:
        """The first layer to be passed backwards: every layer's tensors wait, hardly a gradient is there."""
        workspace = self._again() + backward_workspace(self.held, self.rows, self.device)
        resting = replace(self._resting(), activations=self.kept, workspace=workspace)
        return resting + self._head_gradient()

    def _in_first_layer(self) -> Footprint:
        """The last one: only its own tensors are left, and the gradients of all other layers are there."""
        held, layers = self.held, self.held.shape.layers
        workspace = self._again() + backward_workspace(held, self.rows, self.device)
        resting = replace(self._resting(), activations=self.kept / layers, workspace=workspace)
        fresh = layers * held.shape.layer_weights * FLOAT32 if held.trained and self.batches == 1 else 0.0
        return resting + self._head_gradient() + Footprint(gradients=fresh)

    def _again(self) -> float:
        """What checkpointing computes anew of a layer; in float32 the first norm keeps the layer's input itself."""
        shared = self._input if self.held.weight_bytes == FLOAT32 else 0.0
        return self._layer - shared if self.checkpointing else 0.0

    def _head_gradient(self) -> Footprint:
        """The gradient of the output layer, the first to be there."""
        held = self.held
        fresh = held.trained and held.head == "language"
        return Footprint(gradients=FLOAT32 * held.shape.head_weights if fresh else 0.0)

    def _in_embedding(self) -> Footprint:
        """The end of the backward pass: a tied matrix has the gradients of both its uses."""
        twice = self.held.trained and self.held.shape.tied
        workspace = FLOAT32 * self.held.shape.head_weights if twice else 0.0
        return replace(self._resting(), gradients=self.gradients, workspace=workspace)

    def _in_optimizer(self) -> Footprint:
        held = self.held
        copies = 0.0
        if self.optimizer in TOGETHER:
            moved, largest = self.division.moved(held.moved, held.largest_moved)
            copies = self.device.optimizer_copies * moved or 2 * largest
        return replace(self._resting(), gradients=self.gradients, workspace=FLOAT32 * copies)
