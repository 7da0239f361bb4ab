"""The figures of `yates bench`: what was measured, and what a plan says of the same on the same machine."""

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.bench.chain import Link, as_one_process, chain_of, stood_on
from orchestrator.bench.machine import computes_on, lacks, memory_gigabytes
from orchestrator.bench.measurement import ATTEMPT, Measured, measure
from orchestrator.bench.process import interruptible, printing_to_errors
from orchestrator.cost import expected_seconds
from orchestrator.cost.accelerators import CPU, GPUS, Accelerator, accelerator_for
from orchestrator.cost.memory import GB, stage_need
from orchestrator.plan import Plan
from results.layout import Workspace
from workers.context import Parent
from workers.recipe import Execution, Recipe, Resources
from workers.warmth import warm_up


@dataclass(frozen=True)
class Row:
    """One stage: figures are None where it was not run (`note` says why) or where a plan knows none.

    Seconds are those of a `unit`: a step of training, or the whole of another stage, cut short. Of several `processes`
    they are those of all together, `micro_batch` and `largest_micro_batch` (the largest that a plan expects to fit the
    device; 0: none) those of each, and `gigabytes` what the fullest GPU held, or all processes on the CPU.
    """

    stage: str
    kind: str
    on: str
    strategy: str
    processes: int
    micro_batch: int | None
    largest_micro_batch: int | None
    unit: str | None
    seconds: float | None
    planned_seconds: float | None
    gigabytes: float | None
    planned_gigabytes: float | None
    note: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def run_bench(plan: Plan, steps: int) -> list[Row]:
    """Measure each stage of the plan's pipeline, in its order, in a workspace that is removed afterwards.

    What libraries print on the way goes to standard error.
    """
    with interruptible(), printing_to_errors():
        rows = {row.stage: row for row in _rows(plan, chain_of(plan, steps))}
    names = dict.fromkeys(stage.name for stage in plan.stages)
    return [rows[name] for name in names if name in rows]


def _rows(plan: Plan, links: list[Link]) -> Iterator[Row]:
    warm_up(sorted({link.planned.kind.runner for link in links if link.skipped is None}))
    with tempfile.TemporaryDirectory(prefix="yates-bench-") as directory:
        workspace = Workspace(Path(directory))
        found: list[Measured] = []
        for place, link in enumerate(links):
            found.append(_measured(plan, place, links, found, workspace))
            if link.shown:
                yield _row(plan, link, links, found[-1])


def _measured(
    plan: Plan, place: int, links: list[Link], found: list[Measured], workspace: Workspace
) -> Measured:
    link = links[place]
    if link.skipped is not None:
        return Measured(failure=link.skipped)
    for _, parent in link.parents:
        if found[parent].failure is not None:
            return Measured(failure=f"it stands on {links[parent].planned.name!r}, which failed")
    parents = [
        Parent(role, links[parent].stage, _output(workspace, links[parent]), list(found[parent].rows))
        for role, parent in link.parents
    ]
    missing = lacks(link.execution, link.planned.resources.gpus)
    if missing is None:
        return measure(workspace, link.stage, parents, link.execution, plan.hub_map)
    if not stood_on(links, place):
        return Measured(failure=missing)
    return _stood_in(measure(workspace, link.stage, parents, as_one_process(link), plan.hub_map), missing)


def _stood_in(found: Measured, missing: str) -> Measured:
    """What a stage left that was run as one process, for those that stand on it; its figures are not the stage's."""
    if found.failure is not None:
        return Measured(failure=f"{missing}; as one process, for what stands on it: {found.failure}")
    return Measured(lacks=missing, rows=found.rows)


def _output(workspace: Workspace, link: Link) -> Path:
    return workspace.output(link.stage.id, ATTEMPT)


def _row(plan: Plan, link: Link, links: list[Link], found: Measured) -> Row:
    execution = link.execution
    device = computes_on(execution)
    resources = at_hand(device, execution)
    parents = [(role, links[place].stage.recipe) for role, place in link.parents]
    need = stage_need(
        link.planned.kind.name,
        link.stage.recipe,
        plan.architectures[link.place],
        resources,
        execution,
        parents,
    )
    return Row(
        link.planned.name,
        link.planned.kind.name,
        device,
        execution.strategy,
        execution.processes,
        execution.micro_batch,
        None if need is None else need.micro_batch,
        found.unit,
        found.seconds,
        None if found.unit is None else planned_seconds(plan, link, parents, device, found.unit),
        None if found.peak is None else found.peak / GB,
        None if need is None else need.gigabytes,
        found.failure or found.lacks,
    )


def at_hand(device: str, execution: Execution) -> Resources:
    """What the machine gives a stage: a GPU for each process, or all its memory for those on the CPU."""
    if device == "cpu":
        return Resources(memory_gb=memory_gigabytes(device))
    return Resources(gpus=execution.processes, gpu_memory_gb=memory_gigabytes(device))


def planned_seconds(
    plan: Plan, link: Link, parents: list[tuple[str, Recipe]], device: str, unit: str
) -> float:
    """What a plan expects of a unit: of a step, what one more of them adds to a stage."""
    one = accelerator_named(device, link.planned.resources, link.stage.recipe.threads)
    resources = Resources(gpus=0 if one.is_host else link.execution.processes)

    def expected(recipe: Recipe) -> float:
        return expected_seconds(
            link.planned.kind,
            recipe,
            architecture=plan.architectures[link.place],
            resources=resources,
            execution=link.execution,
            parents=parents,
            accelerator=one.times(link.execution.processes),
        )

    whole = expected(link.stage.recipe)
    return whole - expected(_one_step_less(link.stage.recipe)) if unit == "step" else whole


def accelerator_named(device: str, resources: Resources, threads: int) -> Accelerator:
    """The entry of the table of GPU types that this device is; where it has none, that of the planned resources."""
    if device == "cpu":
        return CPU.times(threads)
    chip = next((gpu for gpu in reversed(GPUS) if gpu.name.split()[0] in device.split()), None)
    return chip or accelerator_for(resources.model_copy(update={"gpus": 1.0}), threads)


def _one_step_less(recipe: Any) -> Recipe:
    training = recipe.training.model_copy(update={"steps": recipe.training.steps - 1})
    less: Recipe = recipe.model_copy(update={"training": training})
    return less
