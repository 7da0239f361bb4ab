"""The planner: instantiates the rules of a pipeline for every experiment, each distinct stage once.

Speed rests on one idea: whatever is built is kept under the factor levels that it depends on. A recipe is
validated once per distinct recipe, a stage is made once per distinct levels of its own and its ancestors.
"""

import gc
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from orchestrator.cost import FALLBACK_PARAMETERS, expected_seconds, model_parameters
from orchestrator.errors import MOST_PROBLEMS, GridError, Problems, mistake
from orchestrator.factors import Vector
from orchestrator.grid import Grid
from orchestrator.hub import Hub
from orchestrator.naming import compile_name
from orchestrator.pipeline import ParentRule, StageRule
from orchestrator.plan import PlannedExperiment, PlannedStage
from orchestrator.templates import Template, projection
from orchestrator.validation import validate
from workers.identity import recipe_digest, stage_id
from workers.recipe import Execution, Recipe, Resources, Settings

EXPERIMENT_ID_LENGTH = 12
TRAINED = "trained"
"""The role whose parent must keep a snapshot of the step that a child evaluates."""

_PENDING = -1
_Model = TypeVar("_Model", bound=Settings)


class _Built(Generic[_Model]):
    """Settings of one stage rule, validated once for each part of a vector that they depend on."""

    def __init__(
        self, grid: Grid, hub: Hub, rule: StageRule, section: str, template: Template, model: type[_Model]
    ) -> None:
        self.grid, self.hub, self.rule, self.section, self.template, self.model = (
            grid,
            hub,
            rule,
            section,
            template,
            model,
        )
        self.key = projection(template.depends)
        self.known: dict[Any, tuple[_Model, str]] = {}
        self.failed: dict[Any, GridError] = {}

    def get(self, vector: Vector) -> tuple[_Model, str]:
        """The settings for `vector`, and for a recipe its digest.

        Raises:
            GridError: they are refused.
        """
        key = self.key(vector)
        found = self.known.get(key)
        if found is None:
            if key in self.failed:
                raise self.failed[key]
            try:
                found = self.known[key] = self._build(vector)
            except GridError as error:
                self.failed[key] = error
                raise
        return found

    def _build(self, vector: Vector) -> tuple[_Model, str]:
        values = self.template.build(vector)
        what = f"{self.section} of stage {self.rule.name!r} (kind {self.rule.kind.name})"
        path = (*self.rule.path, self.section)
        settings = validate(self.model, values, what, lambda loc: self.grid.place((*path, *loc), vector))
        if isinstance(settings, Recipe):
            settings = self.hub.resolve(settings)
            return settings, recipe_digest(settings)
        return settings, settings.shape if isinstance(settings, Resources) else ""


class _Maker:
    """Makes the stages of one rule. `made` maps the part of a vector that decides to an index, None for no stage."""

    def __init__(self, grid: Grid, hub: Hub, rule: StageRule) -> None:
        self.rule = rule
        self.made: dict[Any, int | None] = {}
        self.recipe = _Built(grid, hub, rule, "recipe", rule.recipe, rule.kind.recipe)
        self.resources = _Built(grid, hub, rule, "resources", rule.resources, Resources)
        self.execution = _Built(grid, hub, rule, "execution", rule.execution, Execution)
        self.costs: dict[Any, float] = {}


class Planner:
    """Plans one grid, once."""

    def __init__(self, grid: Grid, hub: Hub, measured: Mapping[str, float]) -> None:
        self.grid, self.measured = grid, measured
        self.stages: list[PlannedStage] = []
        self.parameters: list[float] = []
        self.snapshots: dict[int, set[int]] = {}
        self.index: dict[str, int] = {}
        self.makers = {name: _Maker(grid, hub, rule) for name, rule in grid.pipeline.rules.items()}
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

    def _experiments(self) -> Iterator[PlannedExperiment]:
        problems = Problems()
        grid = self.grid
        width = len(grid.factors)
        name = compile_name(grid.name, grid.space)
        shown = [maker for maker in self.makers.values() if maker.rule.show]
        prefix = (grid.study, grid.scale, grid.preset)
        for vector in grid.experiments:
            with problems.collecting():
                own = self._own(shown, vector)
                levels = vector[:width]
                yield PlannedExperiment(self._experiment_id(prefix, levels, own), name(vector), levels, own)
            if len(set(problems.found)) > MOST_PROBLEMS:
                break
        problems.raise_found()

    def _own(self, shown: list[_Maker], vector: Vector) -> dict[str, int]:
        own: dict[str, int] = {}
        for maker in shown:
            if not maker.rule.loops:
                index = self.make(maker, vector)
                if index is not None:
                    own[maker.rule.name] = index
            elif maker.rule.when is None or maker.rule.when.holds(vector):
                for name, inner in maker.rule.instances(vector):
                    index = self.make(maker, inner)
                    if index is not None:
                        own[name] = index
        if not own:
            levels = ", ".join(
                f"{name}={level}" for name, level in self.grid.levels(vector).items() if level is not None
            )
            raise mistake(
                self.grid.document.place(("pipeline",)), f"no stage of the pipeline holds for {levels}"
            )
        return own

    def _experiment_id(self, prefix: tuple[str, ...], levels: Vector, own: dict[str, int]) -> str:
        """The hash of study, scale, preset, the levels that are present, and the own stages; orders do not count."""
        present = {
            name: level for name, level in zip(self.grid.factors, levels, strict=True) if level is not None
        }
        text = json.dumps(
            [prefix, present, sorted([self.stages[index].id for index in own.values()])], sort_keys=True
        )
        return hashlib.sha256(text.encode()).hexdigest()[:EXPERIMENT_ID_LENGTH]

    def make(self, maker: _Maker, vector: Vector) -> int | None:
        """The index of the stage that `maker` gives for `vector`, or None where the rule does not hold."""
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
        recipe, digest = maker.recipe.get(vector)
        seed = self._seed(rule, vector)
        parents = tuple([found for parent in rule.parents for found in self._parents(rule, parent, vector)])
        ids = [(role, self.stages[index].id) for role, index in parents]
        identity = stage_id(rule.kind.name, rule.kind.version, digest, seed, ids)
        index = self.index.get(identity)
        if index is None:
            index = self.index[identity] = len(self.stages)
            self._append(maker, vector, identity, recipe, seed, parents)
        step = getattr(recipe, "step", None)
        if step is not None:
            self._ask_snapshot(rule, vector, parents, step)
        return index

    def _append(
        self,
        maker: _Maker,
        vector: Vector,
        identity: str,
        recipe: Recipe,
        seed: int,
        parents: tuple[tuple[str, int], ...],
    ) -> None:
        resources, shape = maker.resources.get(vector)
        execution, _ = maker.execution.get(vector)
        parameters = self._parameters(recipe, parents)
        roles = tuple([role for role, _ in parents])
        key = (id(recipe), parameters, roles, shape)
        if key not in maker.costs:
            rule = maker.rule
            maker.costs[key] = expected_seconds(
                rule.kind, rule.name, recipe, parameters, resources, roles, self.measured
            )
        affinity = self._affinity(identity, recipe, parents)
        self.parameters.append(parameters)
        self.stages.append(
            PlannedStage(
                identity,
                maker.rule.kind,
                recipe,
                seed,
                parents,
                maker.rule.name,
                resources,
                shape,
                execution,
                maker.costs[key],
                affinity,
            )
        )

    def _parents(self, rule: StageRule, parent: ParentRule, vector: Vector) -> Iterator[tuple[str, int]]:
        conditionals = self.grid.pipeline.conditionals
        for inner in parent.vectors(vector):
            levels = conditionals.apply(inner) if conditionals.rules and parent.overrides else inner
            index = None
            for name in parent.stages:
                index = self.make(self.makers[name], levels)
                if index is not None:
                    yield parent.role, index
                    break
            if index is None and not parent.optional:
                wanted = " | ".join(parent.stages)
                raise mistake(
                    parent.place,
                    f"stage {rule.name!r} needs {wanted!r} as {parent.role!r} with "
                    f"{self._levels(levels)}, where none exists; mend its `with`, or say `optional: true`",
                )

    def _levels(self, vector: Vector) -> str:
        pairs = zip(self.grid.space.names, vector, strict=True)
        return ", ".join(f"{name}={level}" for name, level in pairs if level is not None)

    def _seed(self, rule: StageRule, vector: Vector) -> int:
        seed = rule.seed.build(vector)
        if seed is None:
            return 0
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            place = self.grid.place((*rule.path, "recipe", "seed"), vector)
            raise mistake(
                place, f"the seed of stage {rule.name!r} must be a whole number of at least 0, not {seed!r}"
            )
        return seed

    def _parameters(self, recipe: Recipe, parents: tuple[tuple[str, int], ...]) -> float:
        """The size of the model: that of the first parent, since only without parents the recipe's model is used."""
        if parents:
            return self.parameters[parents[0][1]]
        return model_parameters(recipe) or FALLBACK_PARAMETERS

    def _affinity(self, identity: str, recipe: Recipe, parents: tuple[tuple[str, int], ...]) -> str:
        """The identity of the base model that a stage loads."""
        if parents:
            role, index = parents[0]
            return self.stages[index].id[:16] if role == "base" else self.stages[index].affinity
        hub = getattr(getattr(recipe, "model", None), "hub", None)
        return str(hub) if hub else identity[:16]

    def _ask_snapshot(
        self, rule: StageRule, vector: Vector, parents: tuple[tuple[str, int], ...], step: int
    ) -> None:
        for role, index in parents:
            training = getattr(self.stages[index].recipe, "training", None)
            if role != TRAINED or training is None:
                continue
            if step > training.steps:
                place = self.grid.place((*rule.path, "recipe", "step"), vector)
                raise mistake(
                    place, f"stage {rule.name!r} wants step {step} of a training of {training.steps} steps"
                )
            self.snapshots.setdefault(index, set()).add(step)

    def _add_snapshots(self) -> None:
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
                differ = [factor for factor, left, right in pairs if left != right]
                place = self.grid.document.place(("name",))
                raise mistake(
                    place,
                    f"two experiments have the name {experiment.name!r}; "
                    f"name must mention {', '.join(differ)} too",
                )

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
