"""Plans: the deduplicated stages of a grid's experiments, parents before children."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.search import Search
from orchestrator.bundles import BundledStage
from orchestrator.cost import Architecture
from orchestrator.cost.calibration import Calibration
from orchestrator.factors import Vector
from orchestrator.grid import Grid
from orchestrator.hub import Hub
from orchestrator.search import search_of
from results.layout import Workspace
from results.records import ExperimentRow, PlanRecord, StageRow
from workers.kinds import Kind
from workers.recipe import Execution, Recipe, Resources
from workers.stage import Stage


@dataclass(slots=True)
class PlannedStage:
    """One stage of a plan.

    `recipe` is shared by all stages that differ in nothing but `seed`, and lacks it. `parents` are (role,
    index into the plan's stages), each smaller than the stage's own. `name` is that of the pipeline. `cost`
    is the expected core- or GPU-seconds; stages of equal `affinity` stand on the same base model.
    """

    id: str
    kind: Kind
    recipe: Recipe
    seed: int
    parents: tuple[tuple[str, int], ...]
    name: str
    resources: Resources
    shape: str
    execution: Execution
    cost: float
    affinity: str


@dataclass(slots=True)
class PlannedExperiment:
    """One experiment: its levels in the order of the plan's factors, and its own stages by name."""

    id: str
    name: str
    levels: Vector
    stages: dict[str, int]


@dataclass
class Plan:
    """What a grid comes to.

    Invariants: no id stands twice among stages or experiments; parents come before their children.
    `unresolved` are the hub ids that are neither mapped nor on this machine: their content is not in any id
    yet. `architectures` are the shapes of the stages' models, one for each stage. `choices` says what was chosen where
    the grid leaves it to the plan, `calibration` what measured attempts say of estimates.
    """

    study: str
    grid: str
    scale: str
    preset: str
    cells: str
    factors: tuple[str, ...]
    stages: list[PlannedStage]
    experiments: list[PlannedExperiment]
    unresolved: tuple[str, ...] = ()
    hub_map: dict[str, str] = field(default_factory=dict)
    search: Search | None = None
    architectures: list[Architecture] = field(default_factory=list)
    choices: tuple[str, ...] = ()
    calibration: Calibration = field(default_factory=Calibration)

    def stage(self, index: int) -> Stage:
        """The stage at `index` as workers know it, seed included."""
        planned = self.stages[index]
        recipe = planned.recipe.model_copy(update={"seed": planned.seed}) if planned.seed else planned.recipe
        parents = tuple((role, self.stages[parent].id) for role, parent in planned.parents)
        return Stage(planned.id, planned.kind, recipe, parents)

    @property
    def gpu_hours(self) -> float:
        """Expected GPU-hours: a stage's seconds times the GPUs of its shape."""
        return sum(stage.cost * stage.resources.gpus for stage in self.stages) / 3600

    @property
    def shapes(self) -> dict[str, dict[str, Any]]:
        """What each resource shape needs of a node; of stages with one shape, the longest hours."""
        longest: dict[str, Resources] = {}
        for stage in self.stages:
            known = longest.get(stage.shape)
            if known is None or known.hours < stage.resources.hours:
                longest[stage.shape] = stage.resources
        return {shape: resources.model_dump(mode="json") for shape, resources in longest.items()}

    def record(self) -> PlanRecord:
        """The plan as `results.plans` keeps it."""
        return PlanRecord(
            study=self.study,
            grid=self.grid,
            scale=self.scale,
            preset=self.preset,
            factors=self.factors,
            experiments=[
                ExperimentRow(item.id, item.name, item.levels, item.stages) for item in self.experiments
            ],
            stages=[_row(stage) for stage in self.stages],
            shapes=self.shapes,
            search={} if self.search is None else self.search.model_dump(mode="json"),
        )

    def bundled(self) -> list[BundledStage]:
        """The stages as `orchestrator.bundles` takes them."""
        return [
            BundledStage(
                stage.id,
                stage.shape,
                stage.affinity,
                stage.cost,
                tuple(self.stages[parent].id for _, parent in stage.parents),
            )
            for stage in self.stages
        ]


def plan_grid(
    grid: Grid,
    hub_map: Path | Mapping[str, str] | None = None,
    workspace: Workspace | None = None,
) -> Plan:
    """Plan every experiment of `grid`.

    `hub_map` is a YAML file (or a mapping) from hub ids to local paths. The attempts in
    `workspace`, if there are any, correct what is expected of stages like theirs.

    Raises:
        GridError: a recipe that its kind refuses, a parent that does not exist, parents that go round in a
        circle.
    """
    from orchestrator.measurements import calibration
    from orchestrator.planner import Planner

    hub = Hub.read(hub_map) if isinstance(hub_map, Path) else Hub(hub_map)
    known = Calibration() if workspace is None else calibration(workspace, hub.model_directory)
    planner = Planner(grid, hub, known)
    stages, experiments = planner.run()
    return Plan(
        grid.study,
        str(grid.path),
        grid.scale,
        grid.preset,
        grid.cells,
        grid.factors,
        stages,
        experiments,
        tuple(sorted(hub.unresolved)),
        hub.paths,
        _search(grid, stages, experiments),
        planner.architectures,
        planner.choices,
        known,
    )


def _search(
    grid: Grid, stages: Sequence[PlannedStage], experiments: Iterable[PlannedExperiment]
) -> Search | None:
    if grid.search is None:
        return None
    rows = (
        (
            dict(zip(grid.factors, one.levels, strict=True)),
            {name: stages[index].id for name, index in one.stages.items()},
        )
        for one in experiments
    )
    return search_of(grid.search, grid.searched, rows)


def _row(stage: PlannedStage) -> StageRow:
    parents = tuple([parent for _, parent in stage.parents])
    return StageRow(stage.id, stage.kind.name, parents, stage.shape, stage.affinity, stage.cost)
