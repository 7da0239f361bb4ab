"""What several processes of one stage divide among them: nothing, gradients and optimizer states, or weights too.

DDP keeps a copy of everything in each process, and its buckets hold all gradients once more. ZeRO (Rajbhandari et al.,
arXiv 1910.02054) divides optimizer states and gradients (stage 2), and weights (stage 3); DeepSpeed keeps a float32
copy of the moved weights beside, and buffers of at most so many numbers (its defaults). Not measured on GPUs.
"""

from dataclasses import dataclass, replace

from orchestrator.cost.memory.footprint import Footprint
from orchestrator.cost.memory.held import FLOAT32, Held
from workers.recipe import Execution, Strategy

BUCKET = 5e8
"""Numbers that DeepSpeed reduces or gathers together (`reduce_bucket_size`)."""
LIVE = 1e9
"""Weights that stage 3 has whole at a time (`stage3_max_live_parameters`)."""


@dataclass(frozen=True)
class Division:
    """How the bytes of a training step are shared; each of `processes` has the same."""

    strategy: Strategy = "single"
    processes: int = 1

    @classmethod
    def of(cls, execution: Execution) -> "Division":
        """The division that an execution asks for."""
        return cls(execution.strategy, execution.processes)

    def share(self, moment: Footprint, held: Held) -> Footprint:
        """What one process holds of a moment."""
        if self.strategy == "single" or self.processes == 1:
            return moment
        if self.strategy == "ddp":
            return replace(moment, workspace=moment.workspace + held.moved * held.moved_bytes)
        return self._zero(moment, held)

    def stepped(self, moved: float) -> float:
        """How many of the moved weights an optimizer step of one process moves."""
        return moved / self.processes if self.strategy.startswith("deepspeed") else moved

    def _zero(self, moment: Footprint, held: Held) -> Footprint:
        bucket = min(BUCKET, held.moved) * held.moved_bytes
        copies = FLOAT32 * held.moved
        shared = replace(
            moment,
            gradients=moment.gradients / self.processes,
            optimizer=(moment.optimizer + copies) / self.processes,
            workspace=moment.workspace + bucket,
        )
        if self.strategy == "deepspeed-zero2":
            return shared
        whole = min(held.weights, LIVE * held.weight_bytes)
        return replace(shared, weights=moment.weights / self.processes, workspace=shared.workspace + whole)


WHOLE = Division()
"""One process, which has everything."""
