"""The figures of `yates bench`: what was measured, and what a plan says of the same on the same machine."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.bench.chain import Link, chain_of
from orchestrator.bench.measurement import ATTEMPT, Measured, computes_on, measure
from orchestrator.cost import expected_seconds
from orchestrator.cost.accelerators import CPU, GPUS, Accelerator, accelerator_for
from orchestrator.cost.memory import GB, stage_need
from orchestrator.plan import Plan
from results.layout import Workspace
from workers.context import Parent
from workers.recipe import Recipe, Resources
from workers.warmth import warm_up


@dataclass(frozen=True)
class Row:
    """One stage: figures are None where it was not run (`note` says why) or where a plan knows none.

    Seconds are those of a `unit`: a step of training, or the whole of another stage, cut short. `gigabytes` are what
    the process took of the GPU, or of the machine where it computed on the CPU.
    """

    stage: str
    kind: str
    on: str
    micro_batch: int | None
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
    with redirect_stdout(sys.stderr):
        rows = {row.stage: row for row in _rows(plan, chain_of(plan, steps))}
    names = dict.fromkeys(stage.name for stage in plan.stages)
    return [rows[name] for name in names if name in rows]


def _rows(plan: Plan, links: list[Link]) -> Iterator[Row]:
    warm_up(sorted({link.planned.kind.runner for link in links if link.skipped is None}))
    with tempfile.TemporaryDirectory(prefix="yates-bench-") as directory:
        workspace = Workspace(Path(directory))
        found: list[Measured] = []
        for link in links:
            found.append(_measured(plan, link, links, found, workspace))
            if link.shown:
                yield _row(plan, link, links, found[-1])


def _measured(
    plan: Plan, link: Link, links: list[Link], found: list[Measured], workspace: Workspace
) -> Measured:
    if link.skipped is not None:
        return Measured(failure=link.skipped)
    for _, place in link.parents:
        if found[place].failure is not None:
            return Measured(failure=f"it stands on {links[place].planned.name!r}, which failed")
    parents = [
        Parent(role, links[place].stage, _output(workspace, links[place]), list(found[place].rows))
        for role, place in link.parents
    ]
    return measure(workspace, link.stage, parents, link.execution, plan.hub_map)


def _output(workspace: Workspace, link: Link) -> Path:
    return workspace.output(link.stage.id, ATTEMPT)


def _row(plan: Plan, link: Link, links: list[Link], found: Measured) -> Row:
    device = computes_on(link.execution)
    resources = Resources(gpus=0 if device == "cpu" else 1)
    accelerator = accelerator_named(device, link.planned.resources, link.stage.recipe.threads)
    parents = [(role, links[place].stage.recipe) for role, place in link.parents]
    need = stage_need(
        link.planned.kind.name,
        link.stage.recipe,
        plan.architectures[link.place],
        resources,
        link.execution,
        parents,
    )
    return Row(
        link.planned.name,
        link.planned.kind.name,
        device,
        link.execution.micro_batch,
        found.unit,
        found.seconds,
        None if found.unit is None else planned_seconds(plan, link, parents, accelerator, found.unit),
        None if found.peak is None else found.peak / GB,
        None if need is None else need.gigabytes,
        found.failure,
    )


def planned_seconds(
    plan: Plan, link: Link, parents: list[tuple[str, Recipe]], accelerator: Accelerator, unit: str
) -> float:
    """What a plan expects of a unit: of a step, what one more of them adds to a stage."""

    def expected(recipe: Recipe) -> float:
        return expected_seconds(
            link.planned.kind,
            link.planned.name,
            recipe,
            architecture=plan.architectures[link.place],
            resources=Resources(gpus=0 if accelerator.is_host else 1),
            execution=link.execution,
            parents=parents,
            accelerator=accelerator,
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


def print_bench(rows: list[Row], experiments: int) -> None:
    """One line a stage, and below why some have no figures."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("stage", "micro-batch", "of a", "takes", "planned", "memory", "planned", "on", box=None)
    for row in rows:
        table.add_row(
            row.stage,
            "whole" if row.micro_batch is None else str(row.micro_batch),
            row.unit or "",
            _seconds(row.seconds),
            _seconds(row.planned_seconds),
            _gigabytes(row.gigabytes),
            _gigabytes(row.planned_gigabytes),
            row.on,
        )
    console.print(
        f"{len(rows)} stages of a grid of {experiments} experiments, each cut short", highlight=False
    )
    console.print(table)
    for row in rows:
        if row.note is not None:
            console.print(f"{row.stage}: {row.note}", highlight=False, markup=False, soft_wrap=True)


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f} s" if value >= 10 else f"{value:.3g} s"


def _gigabytes(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} GB"
