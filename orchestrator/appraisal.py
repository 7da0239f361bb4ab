"""How the stages of one rule run, and what that is expected to cost.

Speed rests on keeping: whatever is settled or counted is kept for all stages that differ in nothing that decides it.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from orchestrator.choices import AUTOMATIC, OpenStage, described
from orchestrator.cost import Architecture, accelerator_for, expected_seconds
from orchestrator.cost.calibration import Calibration, Likeness
from orchestrator.errors import GridError, mistake
from orchestrator.factors import Vector
from orchestrator.grid import Grid
from orchestrator.pipeline import StageRule
from orchestrator.settings import Shared
from workers.objections import objection, ordinary
from workers.recipe import Execution, Recipe, Resources


@dataclass(frozen=True)
class Content:
    """What a stage computes, its seed apart: recipe, shape of the model, roles and recipes of the parents."""

    recipe: Recipe
    shape: Architecture
    parents: tuple[tuple[str, Recipe], ...]

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for equal contents of one plan, whose recipes and shapes are shared."""
        return id(self.recipe), id(self.shape), tuple([(role, id(recipe)) for role, recipe in self.parents])


@dataclass
class Appraiser:
    """Settles and counts the stages of `rule`. `choices` says in words what was chosen where the grid
    left it open, and for how many stages."""

    grid: Grid
    rule: StageRule
    calibration: Calibration
    choices: Counter[str] = field(default_factory=Counter)
    _settled: dict[Any, tuple[Resources, Execution, str]] = field(default_factory=dict)
    _costs: dict[Any, float] = field(default_factory=dict)
    _equal: dict[Resources | Execution, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._resources = Shared(self.grid, self.rule, "resources", self.rule.resources, Resources)
        self._execution = Shared(self.grid, self.rule, "execution", self.rule.execution, Execution)

    def settle(self, content: Content, vector: Vector) -> tuple[Resources, Execution]:
        """What a stage asks for and how it runs, with nothing left open; equal ones are one object.

        Raises:
            GridError: a setting is refused, or the stage cannot run so.
        """
        resources, execution = self._resources.get(vector), self._execution.get(vector)
        left = self._resources.left(resources) | self._execution.left(execution)
        if not left and ordinary(execution):
            return resources, execution
        key = (content.key, id(resources), id(execution))
        if key not in self._settled:
            rule, shape = self.rule, content.shape
            stage = OpenStage(
                rule.kind,
                content.recipe,
                shape,
                content.parents,
                resources,
                execution,
                left,
                self.calibration,
            )
            self._settled[key] = self._chosen(stage, vector)
        resources, execution, words = self._settled[key]
        if words:
            self.choices[words] += 1
        return resources, execution

    def _chosen(self, stage: OpenStage, vector: Vector) -> tuple[Resources, Execution, str]:
        try:
            resources, execution = stage.choose()
        except ValueError as error:
            raise self._refused(_place(stage.left), str(error), vector) from None
        refused = objection(stage.kind, stage.recipe, execution)
        if refused is not None:
            setting, reason = refused
            raise self._refused(("execution", setting), reason, vector)
        equal = self._equal.setdefault(resources, resources), self._equal.setdefault(execution, execution)
        return *equal, described(stage.left, resources, execution)

    def _refused(self, place: tuple[str, str], reason: str, vector: Vector) -> GridError:
        where = self.grid.place((*self.rule.path, *place), vector)
        return mistake(where, f"{place[0]} of stage {self.rule.name!r}: {reason}")

    def seconds(self, content: Content, resources: Resources, execution: Execution) -> float:
        """The expected seconds of a stage, as measured attempts of stages like it correct them."""
        key = (content.key, id(resources), id(execution))
        if key not in self._costs:
            counted = expected_seconds(
                self.rule.kind,
                content.recipe,
                architecture=content.shape,
                resources=resources,
                execution=execution,
                parents=content.parents,
            )
            device = accelerator_for(resources, content.recipe.threads)
            likeness = Likeness.of(self.rule.kind.name, content.recipe, device, content.shape)
            self._costs[key] = round(self.calibration.seconds(likeness, counted), 3)
        return self._costs[key]


def _place(left: frozenset[str]) -> tuple[str, str]:
    """Section and key of what is to be mended: the first that is left open, else the strategy."""
    found = [(section, name) for section, names in AUTOMATIC.items() for name in names if name in left]
    return found[0] if found else ("execution", "strategy")
