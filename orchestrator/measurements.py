"""The attempts of a workspace beside what a plan would count for them: what plans are calibrated with."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from orchestrator.cost import Architecture, Architectures, accelerator_for, brings_model, expected_seconds
from orchestrator.cost.architecture import TOKENS, Directory
from orchestrator.cost.calibration import Calibration, Likeness, Sample
from orchestrator.cost.memory import GB, needed_gigabytes, stage_footprint
from results.files import WorkspaceError, read_json_or_none
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
    """What the finished stages of a workspace say of estimates; `directory` finds models on this machine."""
    return Calibration(samples(workspace, directory))


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
    """Done stages with what they asked for, `most` of each kind and shape, spread over all."""
    groups: dict[tuple[str, str], dict[str, tuple[StageRow, Resources]]] = {}
    for plan in plans:
        shapes = {name: Resources.model_validate(needs) for name, needs in plan.shapes.items()}
        for row in plan.stages:
            if row.stage in index.done and row.stage not in index.diverged and row.shape in shapes:
                groups.setdefault((row.kind, row.shape), {})[row.stage] = (row, shapes[row.shape])
    for rows in map(list, map(dict.values, groups.values())):
        count = min(len(rows), most)
        yield from (rows[number * len(rows) // count] for number in range(count))


@dataclass
class _Reader:
    """Reads stages, each once, with the shapes of their models."""

    workspace: Workspace
    known: Architectures
    stages: dict[str, Stage] = field(default_factory=dict)

    def samples(self, chosen: Iterable[tuple[StageRow, Resources]]) -> Iterator[Sample]:
        for row, resources in chosen:
            with suppress(WorkspaceError, ValueError, KeyError, TypeError):
                record = self._record(row.stage)
                if record is not None:
                    yield self._sample(self._stage(row.stage), record, resources)

    def _record(self, stage: str) -> AttemptRecord | None:
        """How the winning attempt went; None of one that went on from a checkpoint, whose beginning others paid."""
        commit = read_json_or_none(self.workspace.done_file(stage)) or {}
        record: AttemptRecord | None = commit.get("record")
        return None if record is None or record["resumed_from"] is not None else record

    def _sample(self, stage: Stage, record: AttemptRecord, resources: Resources) -> Sample:
        execution = Execution.model_validate(record["execution"])
        shape = self._shape(stage)
        parents = [(role, self._stage(parent).recipe) for role, parent in stage.parents]
        device = accelerator_for(resources, stage.recipe.threads)
        counted = expected_seconds(
            stage.kind,
            stage.recipe,
            architecture=shape,
            resources=resources,
            execution=execution,
            parents=parents,
        )
        return Sample(
            Likeness.of(stage.kind.name, stage.recipe, device, shape),
            counted,
            sum(record["seconds"].get(phase, 0.0) for phase in COUNTED),
            _memory_factor(stage, shape, record, resources, execution, parents),
        )

    def _stage(self, identity: str) -> Stage:
        if identity not in self.stages:
            self.stages[identity] = Stage.read(self.workspace, identity)
        return self.stages[identity]

    def _shape(self, stage: Stage) -> Architecture:
        """As the planner finds it: the first parent's, unless the recipe brings its own or has no parents."""
        if stage.parents and not brings_model(stage.recipe):
            return self._shape(self._stage(stage.parents[0][1]))
        tokens = next((self._stage(parent).recipe for role, parent in stage.parents if role == TOKENS), None)
        return self.known.find(stage.recipe, tokens)


def _memory_factor(
    stage: Stage,
    shape: Architecture,
    record: AttemptRecord,
    resources: Resources,
    execution: Execution,
    parents: Sequence[tuple[str, Recipe]],
) -> float | None:
    """What was held of the device, by what was counted for it; None where one of them is not known."""
    held = record.get("peak_gpu_memory_bytes") if resources.gpus else record["peak_memory_bytes"]
    counted = stage_footprint(stage.kind.name, stage.recipe, shape, resources, execution, parents)
    if held is None or counted is None:
        return None
    return held / (needed_gigabytes(counted, resources, execution.processes) * GB)
