"""The pipeline of a grid: which stages an experiment has, what each computes, on which parents it stands."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from orchestrator.errors import Problems, mistake, unknown
from orchestrator.expansion import Conditionals
from orchestrator.expressions import Expression, compile_expression
from orchestrator.factors import Space, Vector
from orchestrator.source import Document, KeyPath
from orchestrator.templates import Compiler, Template, constant, projection
from results.files import WorkspaceError
from workers.kinds import Kind, find_kind

STAGE_KEYS = ("kind", "when", "for", "parents", "recipe", "resources", "execution", "show")
SOURCE_KEYS = ("stage", "with", "optional")


@dataclass(frozen=True)
class ParentRule:
    """Parents in one role: the first of `stages` that exists, for each combination of `overrides`.

    `overrides` are positions with the template of one level, or of a list of levels that multiply.
    """

    role: str
    stages: tuple[str, ...]
    overrides: tuple[tuple[int, Template], ...]
    optional: bool
    place: str

    def vectors(self, vector: Vector) -> Iterator[Vector]:
        """The experiment's levels, overridden in every combination; the last factor moves fastest."""
        if not self.overrides:
            yield vector
            return
        choices = [_as_list(template.build(vector)) for _, template in self.overrides]
        for choice in product(*choices):
            levels = list(vector)
            for (position, _), level in zip(self.overrides, choice, strict=True):
                levels[position] = level
            yield tuple(levels)


@dataclass
class StageRule:
    """A stage of the pipeline, compiled. `key` gives the part of a vector that decides what it is.

    `show` says whether it is an experiment's own: with `show: false` it exists only for the stages that stand
    on it.
    """

    name: str
    kind: Kind
    when: Expression | None
    loops: tuple[tuple[int, Template], ...]
    parents: tuple[ParentRule, ...]
    recipe: Template
    seed: Template
    resources: Template
    execution: Template
    show: bool
    place: str
    depends: frozenset[int] = frozenset()
    key: Callable[[Vector], Any] = field(default=lambda vector: vector)

    @property
    def path(self) -> KeyPath:
        """Where it stands in the document."""
        return ("pipeline", self.name)

    def instances(self, vector: Vector) -> Iterator[tuple[str, Vector]]:
        """Names (`curve@9` in a loop over steps) and vectors of the stages that this rule gives."""
        if not self.loops:
            yield self.name, vector
            return
        choices = [_as_list(template.build(vector)) for _, template in self.loops]
        for choice in product(*choices):
            levels = list(vector)
            for (position, _), level in zip(self.loops, choice, strict=True):
                levels[position] = level
            yield f"{self.name}@{','.join(map(str, choice))}", tuple(levels)


class Pipeline:
    """The stages of a grid by name, in the order of the grid."""

    def __init__(self, rules: Mapping[str, StageRule], conditionals: Conditionals) -> None:
        self.rules = dict(rules)
        self.conditionals = conditionals
        _close_dependencies(self.rules, conditionals)


def loop_names(document: Document) -> tuple[str, ...]:
    """The loop variables of the pipeline: the keys of every `for`."""
    stages = document.get(("pipeline",))
    names: dict[str, None] = {}
    for stage in stages.values() if isinstance(stages, dict) else ():
        loop = stage.get("for") if isinstance(stage, dict) else None
        names.update(dict.fromkeys(str(name) for name in loop) if isinstance(loop, dict) else {})
    factors = document.get(("factors",)) or {}
    return tuple(name for name in names if name not in factors)


def read_pipeline(document: Document, space: Space) -> Pipeline:
    """Compile the pipeline.

    Raises:
        GridError: an unknown key, kind, stage, role, factor or attribute; every one of them is reported.
    """
    stages = document.get(("pipeline",))
    if not isinstance(stages, dict) or not stages:
        raise mistake(document.place(("pipeline",)), "pipeline must name at least one stage")
    reader = _Reader(document, space, Compiler(space), tuple(stages))
    problems = Problems()
    rules: dict[str, StageRule] = {}
    for name in stages:
        with problems.collecting():
            rules[name] = reader.stage(name)
    problems.raise_found()
    return Pipeline(rules, Conditionals(space, document))


class _Reader:
    """Reads the stages of one document."""

    def __init__(self, document: Document, space: Space, compiler: Compiler, names: tuple[str, ...]) -> None:
        self.document, self.space, self.compiler, self.names = document, space, compiler, names

    def stage(self, name: str) -> StageRule:
        path = ("pipeline", name)
        content = self._mapping(path)
        self._check_keys(path, content, STAGE_KEYS, f" in stage {name!r}")
        kind = self._kind(path, content)
        recipe = dict(self._mapping((*path, "recipe")))
        seed = recipe.pop("seed", None)
        when = content.get("when")
        problems = Problems()
        parents: tuple[ParentRule, ...] = ()
        with problems.collecting():
            parents = tuple(self._parents(name, kind))
        with problems.collecting():
            rule = StageRule(
                name,
                kind,
                None if when is None else compile_expression(when, self.space, self._place(*path, "when")),
                tuple(self._loops(path)),
                parents,
                self.compiler.compile(recipe, self._place(*path, "recipe")),
                self._seed(path, seed),
                self.compiler.compile(self._mapping((*path, "resources")), self._place(*path, "resources")),
                self.compiler.compile(self._mapping((*path, "execution")), self._place(*path, "execution")),
                self._show(path, content),
                self._place(*path),
            )
        problems.raise_found()
        return rule

    def _kind(self, path: KeyPath, content: dict[str, Any]) -> Kind:
        """The kind of a stage; it is the stage's own name unless it says otherwise."""
        try:
            return find_kind(str(content.get("kind", path[-1])))
        except WorkspaceError as error:
            raise mistake(self._place(*path, "kind"), f"{error} (kind of stage {path[-1]!r})") from None

    def _seed(self, path: KeyPath, seed: Any) -> Template:
        """The seed of a stage: the recipe's, else the level of the factor `seed`, else 0."""
        if seed is None and "seed" in self.space.levels:
            return Template(frozenset([self.space.position["seed"]]), self._seed_level)
        return (
            constant(0) if seed is None else self.compiler.compile(seed, self._place(*path, "recipe", "seed"))
        )

    def _seed_level(self, vector: Vector) -> Any:
        return vector[self.space.position["seed"]]

    def _show(self, path: KeyPath, content: dict[str, Any]) -> bool:
        show = content.get("show", True)
        if not isinstance(show, bool):
            raise mistake(self._place(*path, "show"), f"show must be true or false, not {show!r}")
        return show

    def _loops(self, path: KeyPath) -> Iterator[tuple[int, Template]]:
        for name, levels in self._mapping((*path, "for")).items():
            place = self._place(*path, "for", name)
            if name not in self.space.loops:
                raise mistake(place, f"loop variable {name!r} of stage {path[-1]!r} has the name of a factor")
            if not isinstance(levels, (list, str)) or not levels:
                raise mistake(place, f"loop variable {name!r} must be a list of at least one value")
            yield self.space.position[name], self.compiler.compile(levels, place)

    def _parents(self, name: str, kind: Kind) -> Iterator[ParentRule]:
        """The parents by role, in the order of the kind's roles: that of the grid's keys must not count."""
        path = ("pipeline", name, "parents")
        content = self._mapping(path)
        for role in content:
            if role not in kind.roles:
                where = f" of stage {name!r} (kind {kind.name})"
                raise mistake(self._place(*path, role), unknown("role", role, kind.roles, where))
        for role in sorted(content, key=kind.roles.index):
            if isinstance(content[role], list):
                for number, item in enumerate(content[role]):
                    yield self._parent((*path, role, number), role, item)
            else:
                yield self._parent((*path, role), role, content[role])

    def _parent(self, path: KeyPath, role: str, content: Any) -> ParentRule:
        place = self._place(*path)
        where = f" in parent {role!r} of stage {path[1]!r}"
        if isinstance(content, str):
            return ParentRule(role, self._stages(content, place, where), (), True, place)
        if not isinstance(content, dict) or "stage" not in content:
            raise mistake(
                place, f"a parent must be the name of a stage, or a mapping with {', '.join(SOURCE_KEYS)}"
            )
        self._check_keys(path, content, SOURCE_KEYS, where)
        overrides = tuple(self._overrides((*path, "with")))
        optional = bool(content.get("optional", False))
        return ParentRule(
            role,
            self._stages(content["stage"], self._place(*path, "stage"), where),
            overrides,
            optional,
            place,
        )

    def _overrides(self, path: KeyPath) -> Iterator[tuple[int, Template]]:
        for name, levels in self._mapping(path).items():
            place = self._place(*path, name)
            if name not in self.space.position:
                raise mistake(place, unknown("factor", name, self.space.names, f" of stage {path[1]!r}"))
            for level in _as_list(levels):
                if not (isinstance(level, str) and not self.compiler.compile(level, place).constant):
                    self.space.check_level(name, level, place)
            yield self.space.position[name], self.compiler.compile(levels, place)

    def _stages(self, text: Any, place: str, where: str) -> tuple[str, ...]:
        names = tuple(word.strip() for word in str(text).split("|"))
        for name in names:
            if name not in self.names:
                raise mistake(place, unknown("stage", name, self.names, where))
        return names

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        content = self.document.get(path)
        if content is None:
            return {}
        if not isinstance(content, dict):
            raise mistake(
                self._place(*path), f"{'.'.join(map(str, path))} must be a mapping, not {content!r}"
            )
        return content

    def _check_keys(
        self, path: KeyPath, content: dict[str, Any], allowed: tuple[str, ...], where: str
    ) -> None:
        problems = Problems()
        for key in content:
            if key not in allowed:
                problems.add(self._place(*path, key), unknown("key", key, allowed, where))
        problems.raise_found()

    def _place(self, *path: Any) -> str:
        return self.document.place(path)


def _close_dependencies(rules: dict[str, StageRule], conditionals: Conditionals) -> None:
    """Give each rule the positions that decide about it or any ancestor: the least fixed point."""
    changed = True
    while changed:
        changed = False
        for rule in rules.values():
            depends = _own_dependencies(rule).union(
                *(_parent_dependencies(parent, rules, conditionals) for parent in rule.parents)
            )
            changed = changed or depends != rule.depends
            rule.depends = depends
    for rule in rules.values():
        rule.key = projection(rule.depends)


def _own_dependencies(rule: StageRule) -> frozenset[int]:
    templates = (rule.recipe, rule.seed, rule.resources, rule.execution)
    condition = rule.when.depends if rule.when else frozenset()
    return condition.union(*(template.depends for template in templates))


def _parent_dependencies(
    parent: ParentRule, rules: dict[str, StageRule], conditionals: Conditionals
) -> frozenset[int]:
    needed = frozenset().union(*(rules[name].depends for name in parent.stages))
    if not parent.overrides:
        return needed
    overridden = {position for position, _ in parent.overrides}
    given = frozenset().union(*(template.depends for _, template in parent.overrides))
    return (needed - overridden) | given | conditionals.depends


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
