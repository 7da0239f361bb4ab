"""What several processes of one stage divide among them: nothing, gradients and optimizer states, or weights too.

DDP keeps a copy of everything in each process, and its buckets hold all gradients once more. ZeRO (Rajbhandari et al.,
arXiv 1910.02054) divides optimizer states and gradients (stage 2), and weights (stage 3); DeepSpeed keeps a float32
copy of the moved weights beside, and buffers of so many numbers as its configuration says. Measured on CPUs; what is
offloaded to the host leaves a GPU (`offloading`), which was read off DeepSpeed's source and not measured.
"""

from dataclasses import dataclass, replace
from typing import Literal

from orchestrator.cost.memory.device import Device
from orchestrator.cost.memory.footprint import Footprint
from orchestrator.cost.memory.held import FLOAT32, Held
from workers.recipe import Execution, Offload, Strategy
from workers.training import deepspeed

Phase = Literal["forward", "loss", "backward", "end"]
"""Of a micro-batch: after the layers' forward pass, at the loss, in a layer's backward pass, after the last."""
SUMMED = {"deepspeed-zero2": 2.0, "deepspeed-zero3": 3.0}
"""Buffers of gradients at a time: one that is filled, and copies of it while it is summed."""


@dataclass(frozen=True)
class Division:
    """How the bytes of a training step are shared; each of `processes` has the same. `offload` lies elsewhere."""

    strategy: Strategy = "single"
    processes: int = 1
    offload: Offload = "none"

    @classmethod
    def of(cls, execution: Execution, device: Device) -> "Division":
        """The division that an execution asks for; a CPU's memory is the host's, so nothing leaves it."""
        offload: Offload = execution.offload if device.apart else "none"
        return cls(execution.strategy, execution.processes, offload)

    @property
    def everything(self) -> bool:
        """Whether each process holds all weights, gradients and states."""
        alone = self.processes == 1 and not self.offloads
        return alone or not self.strategy.startswith("deepspeed")

    @property
    def offloads(self) -> bool:
        """Whether the optimizer, with its gradients and float32 weights, is elsewhere."""
        return self.offload != "none"

    def share(self, moment: Footprint, held: Held, phase: Phase, *, adds_up: bool = False) -> Footprint:
        """What one process holds of a moment of a pass; `adds_up`: gradients of several micro-batches add up."""
        if self.everything:
            buckets = held.moved * held.moved_bytes if self.strategy == "ddp" and self.processes > 1 else 0.0
            return replace(moment, workspace=moment.workspace + buckets)
        shared = self._zero(moment, held)
        if self.strategy == "deepspeed-zero2":
            beside = 0.0 if phase in ("forward", "loss") else self._summed(held, phase)
            waiting = shared.gradients if adds_up else 0.0
            if self.offloads:  # on its way to the host
                beside += held.largest_moved * held.moved_bytes
            return replace(shared, gradients=waiting, workspace=shared.workspace + beside)
        kept = 0.0 if self.offloads else held.moved * held.moved_bytes / self.processes
        beside = max(self._summed(held, phase), self._bucket(held) + _gathered(held, phase))
        return replace(shared, gradients=kept, workspace=shared.workspace + beside)

    def step(self, moment: Footprint, held: Held) -> Footprint:
        """What one process holds while its share of the weights moves: DeepSpeed has its gradients twice."""
        if self.everything:
            return self.share(moment, held, "end")
        shared = self._zero(moment, held)
        bucket = self._bucket(held) if self.strategy == "deepspeed-zero3" else 0.0
        return replace(shared, gradients=2 * shared.gradients, workspace=shared.workspace + bucket)

    def moved(self, moved: float, largest: float) -> tuple[float, float]:
        """How many of the moved weights one process moves, and of how many its largest tensor is."""
        if self.everything:
            return moved, largest
        if self.offloads:
            return 0.0, 0.0
        return moved / self.processes, moved / self.processes  # one flat tensor

    def _summed(self, held: Held, phase: Phase) -> float:
        """The buffers of gradients. They are summed when one is full: only at the end where it holds all of them.

        Stage 2 makes its buffer with the first gradient, stage 3 keeps it.
        """
        summing = phase == "end" or (phase == "backward" and held.moved > deepspeed.BUCKET)
        return (SUMMED[self.strategy] if summing else 1.0) * self._bucket(held)

    def _zero(self, moment: Footprint, held: Held) -> Footprint:
        copies = FLOAT32 * held.moved
        here = 0.0 if self.offloads else 1.0 / self.processes
        shared = replace(
            moment, gradients=moment.gradients * here, optimizer=(moment.optimizer + copies) * here
        )
        if self.strategy == "deepspeed-zero2":
            return shared
        resting = 0.0 if self.offload == "weights" else moment.weights / self.processes
        return replace(shared, weights=resting)

    def _bucket(self, held: Held) -> float:
        return min(deepspeed.BUCKET, held.moved) * held.moved_bytes


def _gathered(held: Held, phase: Phase) -> float:
    """Bytes of the weights that stage 3 has whole, and of those that it brings meanwhile: all once, or twice."""
    most = deepspeed.LIVE * held.weight_bytes
    brings = phase == "forward" or held.weights > most
    brought = min(held.weights, deepspeed.PREFETCHED * held.weight_bytes) if brings else 0.0
    return min(held.weights, most) + brought


WHOLE = Division()
"""One process, which has everything."""
