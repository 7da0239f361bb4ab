"""What the stages of a plan need of the memory that they ask for, and which micro-batch would fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestrator.cost import accelerator_for
from orchestrator.cost.calibration import Likeness
from orchestrator.cost.memory import GB, Need, stage_need
from orchestrator.cost.memory.offloading import host_bytes

if TYPE_CHECKING:
    from orchestrator.plan import Plan, PlannedStage


@dataclass(frozen=True)
class Fit:
    """The need of the largest stage under one name of the pipeline on one resource shape.

    `offloaded` is what it moves to the host's memory, of which it asks for `memory`, both in GB.
    """

    stage: str
    shape: str
    micro_batch: int | None
    need: Need
    offloaded: float = 0.0
    memory: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain data; bytes by what they are for, as `orchestrator.cost.memory.Footprint` names them."""
        return {
            "stage": self.stage,
            "shape": self.shape,
            "gigabytes": round(self.need.gigabytes, 2),
            "of_gigabytes": self.need.has,
            "fits": self.need.fits,
            "micro_batch": self.micro_batch,
            "largest_micro_batch": self.need.micro_batch,
            "bytes": vars(self.need.footprint),
            "offloaded_gigabytes": round(self.offloaded, 2),
        }

    @property
    def room(self) -> str:
        """`31.2 GB of 40 GB`."""
        of = "" if self.need.has is None else f" of {self.need.has:g} GB"
        return f"{self.need.gigabytes:.1f} GB{of}"

    @property
    def warning(self) -> str | None:
        """What does not fit, and what would; None where it fits."""
        if self.need.fits:
            return self._host_warning
        lacks = f"{self.stage} needs {self.room}"
        if self.need.micro_batch:
            return f"{lacks}; with a micro-batch of {self.need.micro_batch} it fits"
        if self.need.micro_batch is None:
            return lacks
        return f"{lacks}, and no micro-batch fits: it takes a larger device, an adapter or fewer bits"

    @property
    def _host_warning(self) -> str | None:
        if self.offloaded <= self.memory:
            return None
        return (
            f"{self.stage} offloads {self.offloaded:.1f} GB to the host's memory, of which it asks for "
            f"{self.memory:g} GB; raise `memory_gb`"
        )


def fits(plan: "Plan") -> list[Fit]:
    """For each name of the pipeline and each shape its largest need, in the plan's order; none for unknown kinds."""
    largest: dict[tuple[str, str], Fit] = {}
    known: dict[tuple[Any, ...], Need | None] = {}
    for index, stage in enumerate(plan.stages):
        need = _need(plan, index, stage, known)
        place = (stage.name, stage.shape)
        if need is not None and (place not in largest or need.gigabytes > largest[place].need.gigabytes):
            largest[place] = _fit(plan, index, stage, need)
    return list(largest.values())


def _fit(plan: "Plan", index: int, stage: "PlannedStage", need: Need) -> Fit:
    offloaded = host_bytes(stage.kind.name, stage.recipe, plan.architectures[index], stage.execution) / GB
    return Fit(
        stage.name, stage.shape, stage.execution.micro_batch, need, offloaded, stage.resources.memory_gb
    )


def largest_by_shape(found: Sequence[Fit]) -> dict[str, Fit]:
    """The largest need of each resource shape."""
    largest: dict[str, Fit] = {}
    for one in found:
        if one.shape not in largest or one.need.gigabytes > largest[one.shape].need.gigabytes:
            largest[one.shape] = one
    return largest


def _need(
    plan: "Plan", index: int, stage: "PlannedStage", known: dict[tuple[Any, ...], Need | None]
) -> Need | None:
    """Counted once for stages that differ in nothing that decides it."""
    parents = [(role, plan.stages[place].recipe) for role, place in stage.parents]
    shape = plan.architectures[index]
    family = tuple([(role, id(recipe)) for role, recipe in parents])
    key = (id(stage.recipe), id(shape), family, id(stage.resources), id(stage.execution))
    if key not in known:
        device = accelerator_for(stage.resources, stage.recipe.threads)
        likeness = Likeness.of(stage.kind.name, stage.recipe, device, shape)
        known[key] = stage_need(
            stage.kind.name,
            stage.recipe,
            shape,
            stage.resources,
            stage.execution,
            parents,
            correct=partial(plan.calibration.gigabytes, likeness),
        )
    return known[key]
