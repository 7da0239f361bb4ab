"""The attempts of a workspace beside what a plan would count for them: what plans are calibrated with."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from orchestrator.cost import Architecture, Architectures, accelerator_for, expected_seconds
from orchestrator.cost.architecture import Directory
from orchestrator.cost.calibration import Calibration, Likeness, Sample
from orchestrator.cost.memory import GB, needed_gigabytes, stage_footprint
from results.files import read_json
from results.journal import Index
from results.layout import Workspace
from results.plans import read_plans
from results.records import AttemptRecord, PlanRecord, StageRow
from workers.recipe import Execution, Recipe, Resources
from workers.stage import Stage

MOST_OF_A_KIND = 48
"""Stages that are looked at of each kind on each shape, spread over all that are done."""
COUNTED = ("compute", "load", "save", "other")
"""Phases of an attempt that a plan counts: not the start of the worker."""


def calibration(workspace: Workspace, directory: Directory) -> Calibration:
    """What the finished stages of a workspace say of estimates; `directory` finds models on this machine.

    Whatever is wrong with a workspace, a plan goes on without it: those who run it say what is to be mended.
    """
    try:
        return Calibration(samples(workspace, directory))
    except Exception:
        return Calibration()


def samples(workspace: Workspace, directory: Directory, most: int = MOST_OF_A_KIND) -> Iterator[Sample]:
    """The finished stages of a workspace beside what is counted for them, at most so many of each kind and shape.

    A stage that cannot be read, or that this version does not know, is left out.
    """
    if workspace.journals.is_dir():
        index = Index(workspace)
        index.refresh()
        plans = read_plans(workspace, on_damage=lambda path, reason: None, levels=False)
        yield from _Reader(workspace, Architectures(directory)).samples(_chosen(plans, index, most))


def _chosen(plans: Sequence[PlanRecord], index: Index, most: int) -> Iterator[tuple[StageRow, Resources]]:
    """Done stages with what the newest plan asks for them, `most` of each kind and shape, spread over all."""
    asked: dict[str, tuple[StageRow, Resources]] = {}
    for plan in plans:
        shapes = _resources(plan)
        for row in plan.stages:
            if row.stage in index.done and row.stage not in index.diverged and row.shape in shapes:
                asked[row.stage] = (row, shapes[row.shape])
    groups: dict[tuple[str, str], list[tuple[StageRow, Resources]]] = {}
    for row, resources in asked.values():
        groups.setdefault((row.kind, row.shape), []).append((row, resources))
    for rows in groups.values():
        count = min(len(rows), most)
        yield from (rows[number * len(rows) // count] for number in range(count))


def _resources(plan: PlanRecord) -> dict[str, Resources]:
    """The shapes of a plan; none where another version wrote what this one does not know."""
    try:
        return {name: Resources.model_validate(needs) for name, needs in plan.shapes.items()}
    except (ValueError, AttributeError):
        return {}


@dataclass
class _Reader:
    """Reads stages, each once, with the shapes of their models."""

    workspace: Workspace
    known: Architectures
    stages: dict[str, Stage] = field(default_factory=dict)

    def samples(self, chosen: Iterable[tuple[StageRow, Resources]]) -> Iterator[Sample]:
        for row, resources in chosen:
            sample = None
            # damaged, of another version, gone meanwhile: one stage less that is known
            with suppress(Exception):
                sample = self._sample(row.stage, resources)
            if sample is not None:
                yield sample

    def _sample(self, identity: str, resources: Resources) -> Sample | None:
        """None of an attempt that went on from a checkpoint, or ran elsewhere than the plan would have it."""
        record: AttemptRecord = read_json(self.workspace.done_file(identity))["record"]
        execution = Execution.model_validate(record["execution"])
        on_gpu = bool(record["fingerprint"].get("gpu")) and execution.device != "cpu"
        seconds = float(sum(record["seconds"].get(phase, 0.0) for phase in COUNTED))
        if record["resumed_from"] is not None or on_gpu != bool(resources.gpus) or seconds <= 0:
            return None
        stage = self._stage(identity)
        shape = self._shape(stage)
        parents = self._recipes(stage)
        device = accelerator_for(resources, stage.recipe.threads)
        settings: dict[str, Any] = {"resources": resources, "execution": execution, "parents": parents}
        return Sample(
            Likeness.of(stage.kind.name, stage.recipe, device, shape),
            expected_seconds(stage.kind, stage.recipe, architecture=shape, **settings),
            seconds,
            _counted_gigabytes(stage, shape, resources, execution, parents),
            _held_gigabytes(record, resources),
        )

    def _stage(self, identity: str) -> Stage:
        if identity not in self.stages:
            self.stages[identity] = Stage.read(self.workspace, identity)
        return self.stages[identity]

    def _shape(self, stage: Stage) -> Architecture:
        return self.known.of_stage(
            stage.recipe,
            self._recipes(stage),
            lambda: self._shape(self._stage(stage.parents[0][1])),
        )

    def _recipes(self, stage: Stage) -> list[tuple[str, Recipe]]:
        return [(role, self._stage(parent).recipe) for role, parent in stage.parents]


def _counted_gigabytes(
    stage: Stage,
    shape: Architecture,
    resources: Resources,
    execution: Execution,
    parents: Sequence[tuple[str, Recipe]],
) -> float | None:
    counted = stage_footprint(stage.kind.name, stage.recipe, shape, resources, execution, parents)
    return None if counted is None else needed_gigabytes(counted, resources, execution.processes)


def _held_gigabytes(record: AttemptRecord, resources: Resources) -> float | None:
    """What was held of the device, or None: it was not measured."""
    held = record.get("peak_gpu_memory_bytes") if resources.gpus else record["peak_memory_bytes"]
    return None if held is None else held / GB
