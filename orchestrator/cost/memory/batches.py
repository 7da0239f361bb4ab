"""Whether a stage fits a card, and the largest micro-batch that does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.cost.architecture import Architecture
from orchestrator.cost.memory.device import CPU, GPU
from orchestrator.cost.memory.footprint import GB, Footprint
from orchestrator.cost.memory.stages import ONLINE, TRAINED, Parents, stage_footprint
from workers.failures import whole_batch
from workers.recipe import Execution, Resources

DIVIDED = (*TRAINED, *ONLINE, "ppo", "evaluate", "generate", "judge")
"""Kinds whose memory depends on a micro-batch."""


@dataclass(frozen=True)
class Need:
    """What a stage needs of the device that it computes on, in GB, fragmentation included.

    `has` is what it asks for, `micro_batch` the largest that fits there: 0 when not even one row does, None for a
    stage whose memory depends on none.
    """

    gigabytes: float
    has: float | None
    micro_batch: int | None
    footprint: Footprint

    @property
    def fits(self) -> bool:
        """Whether it fits what it asks for; what is asked for without a figure suffices."""
        return self.has is None or self.gigabytes <= self.has


def needed_gigabytes(footprint: Footprint, resources: Resources, processes: int = 1) -> float:
    """GB of a device's memory, with what its allocator or its process holds beside live tensors.

    Of several processes each has a GPU of its own; on a CPU they share what the stage asks for.
    """
    if resources.gpus:
        return GPU.needs(footprint.peak) / GB
    return processes * CPU.needs(footprint.peak) / GB


def stage_need(
    kind: str,
    recipe: Any,
    architecture: Architecture,
    resources: Resources,
    execution: Execution | None = None,
    parents: Parents = (),
    *,
    correct: Callable[[float], float] = float,
) -> Need | None:
    """What a stage needs and what would fit; None for a kind that this model does not know.

    A share of a GPU has that share of its memory. `correct` makes of the GB that are counted those to
    expect, as measured attempts say.
    """
    run = execution or Execution()

    def needs(micro: int | None) -> float | None:
        tried = run.model_copy(update={"micro_batch": micro})
        found = stage_footprint(kind, recipe, architecture, resources, tried, parents)
        return None if found is None else correct(needed_gigabytes(found, resources, run.processes))

    footprint = stage_footprint(kind, recipe, architecture, resources, run, parents)
    if footprint is None:
        return None
    has = asked_memory(resources)
    batch = (divided_batch(kind, recipe) or 0) // run.processes
    fitting = largest_micro_batch(batch, has, needs) if batch and has is not None else None
    return Need(correct(needed_gigabytes(footprint, resources, run.processes)), has, fitting, footprint)


def asked_memory(resources: Resources) -> float | None:
    """GB of memory that a stage asks for where it computes, or None: any GPU."""
    if not resources.gpus:
        return resources.memory_gb
    return None if resources.gpu_memory_gb is None else resources.gpu_memory_gb * min(1.0, resources.gpus)


def divided_batch(kind: str, recipe: Any) -> int | None:
    """The rows that a micro-batch divides, or None where it does not count."""
    return whole_batch(recipe) if kind in DIVIDED else None


def largest_micro_batch(batch: int, has: float, needs: Callable[[int], float | None]) -> int:
    """The largest divisor of `batch` with which `needs` gives at most `has` GB; 0 where not even 1 does."""
    sizes = [size for size in range(batch, 0, -1) if batch % size == 0]
    return next((size for size in sizes if (needs(size) or 0.0) <= has), 0)
