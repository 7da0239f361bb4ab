"""The planner: instantiates the rules of a pipeline for every experiment, each distinct stage once.

Speed rests on one idea: whatever is built is kept under the factor levels that it depends on. A recipe is
validated once per distinct recipe, a stage is made once per distinct levels of its own and its ancestors.
"""

import gc
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from orchestrator.appraisal import Appraiser, Content
from orchestrator.cost import Architecture, Architectures
from orchestrator.cost.calibration import Calibration
from orchestrator.errors import MOST_PROBLEMS, GridError, Problems, mistake
from orchestrator.factors import Vector
from orchestrator.grid import Grid
from orchestrator.hub import Hub
from orchestrator.naming import compile_name
from orchestrator.pipeline import ParentRule, StageRule
from orchestrator.plan import PlannedExperiment, PlannedStage
from orchestrator.settings import Shared
from workers.identity import recipe_digest, stage_id
from workers.recipe import Execution, Recipe

EXPERIMENT_ID_LENGTH = 12
AFFINITY_LENGTH = 16
TRAINED = "trained"
"""The role whose parent must keep a snapshot of the step that a child evaluates."""

_PENDING = -1

Parents = tuple[tuple[str, int], ...]
"""Roles and indices of a stage's parents."""


@dataclass
class _Maker:
    """Makes the stages of one rule; `made` maps the part of a vector that decides to an index or None."""

    rule: StageRule
    recipe: Shared[Recipe]
    appraiser: Appraiser
    made: dict[Any, int | None] = field(default_factory=dict)
    resolved: dict[int, tuple[Recipe, str]] = field(default_factory=dict)
    shapes: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, grid: Grid, rule: StageRule, calibration: Calibration) -> "_Maker":
        """The maker of a rule of `grid`'s pipeline."""
        recipe = Shared(grid, rule, "recipe", rule.recipe, rule.kind.recipe)
        return cls(rule, recipe, Appraiser(grid, rule, calibration))


class Planner:
    """Plans one grid, once."""

    def __init__(self, grid: Grid, hub: Hub, calibration: Calibration) -> None:
        self.grid, self.hub = grid, hub
        self.stages: list[PlannedStage] = []
        self.architectures: list[Architecture] = []
        self.known = Architectures(hub.model_directory)
        self.snapshots: dict[int, set[int]] = {}
        self.index: dict[str, int] = {}
        self.makers = {name: _Maker.of(grid, rule, calibration) for name, rule in grid.pipeline.rules.items()}
        self.open: list[str] = []

    def run(self) -> tuple[list[PlannedStage], list[PlannedExperiment]]:
        """All stages and experiments.

        Raises:
            GridError: with the mistakes of all experiments, each once, as far as `MOST_PROBLEMS`.
        """
        with _collector_paused():
            experiments = list(self._experiments())
            self._check_unique(experiments)
            self._add_snapshots()
        return self.stages, experiments

    @property
    def choices(self) -> tuple[str, ...]:
        """What was chosen where the grid left it open, in words."""
        return tuple(
            f"{name}: {words}" if len(maker.appraiser.choices) == 1 else f"{name} ({count} stages): {words}"
            for name, maker in self.makers.items()
            for words, count in maker.appraiser.choices.most_common()
        )

    def _experiments(self) -> Iterator[PlannedExperiment]:
        problems = Problems()
        width = len(self.grid.factors)
        name = compile_name(self.grid.name, self.grid.space)
        shown = [maker for maker in self.makers.values() if maker.rule.show]
        for vector in self.grid.experiments:
            try:
                own = self._own(shown, vector)
            except GridError as error:
                problems.found.extend(error.problems)
                if len(set(problems.found)) > MOST_PROBLEMS:
                    break
            else:
                levels = vector[:width]
                yield PlannedExperiment(self._experiment_id(levels, own), name(vector), levels, own)
        problems.raise_found()

    def _own(self, shown: list[_Maker], vector: Vector) -> dict[str, int]:
        """The stages of one experiment by name, made if need be."""
        own: dict[str, int] = {}
        for maker in shown:
            rule = maker.rule
            if rule.loops and rule.when is not None and not rule.when.holds(vector):
                continue
            for name, inner in rule.instances(vector) if rule.loops else ((rule.name, vector),):
                index = self._make(maker, inner)
                if index is not None:
                    own[name] = index
        if not own:
            place = self.grid.document.place(("pipeline",))
            raise mistake(place, f"no stage of the pipeline holds for {self._levels(vector)}")
        return own

    def _experiment_id(self, levels: Vector, own: dict[str, int]) -> str:
        """The hash of study, scale, preset, present levels and own stages; no order counts."""
        grid = self.grid
        present = {name: level for name, level in zip(grid.factors, levels, strict=True) if level is not None}
        stages = sorted([self.stages[index].id for index in own.values()])
        text = json.dumps([grid.study, grid.scale, grid.preset, present, stages], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:EXPERIMENT_ID_LENGTH]

    def _make(self, maker: _Maker, vector: Vector) -> int | None:
        """The index of the stage that `maker` gives for `vector`, or None where its rule does not hold."""
        key = maker.rule.key(vector)
        if key in maker.made:
            index = maker.made[key]
            if index == _PENDING:
                raise self._circle(maker.rule)
            return index
        maker.made[key] = _PENDING
        self.open.append(maker.rule.name)
        try:
            maker.made[key] = index = self._create(maker, vector)
        except GridError:
            del maker.made[key]
            raise
        finally:
            self.open.pop()
        return index

    def _create(self, maker: _Maker, vector: Vector) -> int | None:
        rule = maker.rule
        if rule.when is not None and not rule.when.holds(vector):
            return None
        recipe, digest = self._recipe(maker, vector)
        seed = self._seed(rule, vector)
        parents = tuple([pair for parent in rule.parents for pair in self._parents(rule, parent, vector)])
        ids = [(role, self.stages[index].id) for role, index in parents]
        identity = stage_id(rule.kind.name, rule.kind.version, digest, seed, ids)
        index = self.index.get(identity)
        if index is None:
            content = self._content(recipe, parents)
            stage = self._stage(maker, vector, identity, content, (seed, parents))
            index = self.index[identity] = len(self.stages)
            self.architectures.append(content.shape)
            self.stages.append(stage)
        if getattr(recipe, "step", None) is not None:
            self._ask_snapshot(rule, vector, self.stages[index])
        return index

    def _recipe(self, maker: _Maker, vector: Vector) -> tuple[Recipe, str]:
        """The recipe with its sources resolved, and its digest."""
        recipe = maker.recipe.get(vector)
        found = maker.resolved.get(id(recipe))
        if found is None:
            resolved = self.hub.resolve(recipe)
            found = maker.resolved[id(recipe)] = (resolved, self._digest(maker.rule, resolved))
        return found

    def _digest(self, rule: StageRule, recipe: Recipe) -> str:
        try:
            return recipe_digest(recipe)
        except ValueError:
            place = self.grid.document.place((*rule.path, "recipe"))
            raise mistake(
                place, f"the recipe of stage {rule.name!r} holds a number that is not finite"
            ) from None

    def _stage(
        self, maker: _Maker, vector: Vector, identity: str, content: Content, own: tuple[int, Parents]
    ) -> PlannedStage:
        seed, parents = own
        resources, execution = maker.appraiser.settle(content, vector)
        shape = maker.shapes.get(id(resources))
        if shape is None:
            shape = maker.shapes[id(resources)] = resources.shape
        return PlannedStage(
            id=identity,
            kind=maker.rule.kind,
            recipe=content.recipe,
            seed=seed,
            parents=parents,
            name=maker.rule.name,
            resources=resources,
            shape=shape,
            execution=execution,
            cost=maker.appraiser.seconds(content, resources, execution),
            affinity=self._affinity(identity, content.recipe, parents),
        )

    def _content(self, recipe: Recipe, parents: Parents) -> Content:
        recipes = tuple([(role, self.stages[index].recipe) for role, index in parents])
        shape = self.known.of_stage(recipe, recipes, lambda: self.architectures[parents[0][1]])
        return Content(recipe, shape, recipes)

    def _parents(self, rule: StageRule, parent: ParentRule, vector: Vector) -> Iterator[tuple[str, int]]:
        conditionals = self.grid.pipeline.conditionals
        for overridden in parent.vectors(vector):
            levels = conditionals.apply(overridden) if parent.overrides else overridden
            made = (self._make(self.makers[name], levels) for name in parent.stages)
            index = next((index for index in made if index is not None), None)
            if index is not None:
                yield parent.role, index
            elif not parent.optional:
                wanted = " | ".join(parent.stages)
                text = f"stage {rule.name!r} needs {wanted!r} as {parent.role!r}, and there is none with "
                remedy = "; mend its `with`, or say `optional: true`"
                raise mistake(parent.place, text + self._levels(levels) + remedy)

    def _levels(self, vector: Vector) -> str:
        pairs = zip(self.grid.space.names, vector, strict=True)
        return ", ".join(f"{name}={level}" for name, level in pairs if level is not None)

    def _seed(self, rule: StageRule, vector: Vector) -> int:
        seed = rule.seed.build(vector)
        if seed is None:
            return 0
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            place = self.grid.place((*rule.path, "recipe", "seed"), vector)
            whole = "must be a whole number of at least 0"
            raise mistake(place, f"the seed of stage {rule.name!r} {whole}, not {seed!r}")
        return seed

    def _affinity(self, identity: str, recipe: Recipe, parents: Parents) -> str:
        """The identity of the base model that a stage loads."""
        if parents:
            role, index = parents[0]
            stage = self.stages[index]
            return stage.id[:AFFINITY_LENGTH] if role == "base" else stage.affinity
        hub = getattr(getattr(recipe, "model", None), "hub", None)
        return str(hub) if hub else identity[:AFFINITY_LENGTH]

    def _ask_snapshot(self, rule: StageRule, vector: Vector, stage: PlannedStage) -> None:
        step: int = getattr(stage.recipe, "step")  # noqa: B009 - not every recipe has one
        for role, index in stage.parents:
            training = getattr(self.stages[index].recipe, "training", None)
            if role != TRAINED or training is None:
                continue
            if step > training.steps:
                place = self.grid.place((*rule.path, "recipe", "step"), vector)
                text = f"stage {rule.name!r} wants step {step} of a training of {training.steps} steps"
                raise mistake(place, text)
            self.snapshots.setdefault(index, set()).add(step)

    def _add_snapshots(self) -> None:
        """Tell each training the steps that its children evaluate; equal executions stay one object."""
        known: dict[tuple[int, tuple[int, ...]], Execution] = {}
        for index, steps in self.snapshots.items():
            stage = self.stages[index]
            wanted = tuple(sorted(steps.union(stage.execution.snapshots)))
            key = (id(stage.execution), wanted)
            if key not in known:
                known[key] = stage.execution.model_copy(update={"snapshots": wanted})
            stage.execution = known[key]

    def _check_unique(self, experiments: list[PlannedExperiment]) -> None:
        names: dict[str, PlannedExperiment] = {}
        for experiment in experiments:
            other = names.setdefault(experiment.name, experiment)
            if other is not experiment:
                pairs = zip(self.grid.factors, other.levels, experiment.levels, strict=True)
                differ = ", ".join(factor for factor, left, right in pairs if left != right)
                text = f"two experiments have the name {experiment.name!r}; name must mention {differ} too"
                raise mistake(self.grid.document.place(("name",)), text)

    def _circle(self, rule: StageRule) -> GridError:
        names = [*self.open[self.open.index(rule.name) :], rule.name]
        return mistake(rule.place, f"parents that go round in a circle: {' -> '.join(names)}")


@contextmanager
def _collector_paused() -> Iterator[None]:
    """A hundred thousand objects are born and none dies: looking for garbage among them doubles the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
