"""Settings of stages: recipes, resources and executions, validated once for all that share them."""

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from orchestrator.choices import AUTO, AUTOMATIC
from orchestrator.errors import GridError
from orchestrator.factors import Vector
from orchestrator.grid import Grid
from orchestrator.pipeline import StageRule
from orchestrator.templates import Template, projection
from orchestrator.validation import validate
from workers.recipe import Settings

Model = TypeVar("Model", bound=Settings)


@dataclass
class Shared(Generic[Model]):
    """One section (`recipe`, `resources`, `execution`) of one stage rule.

    Invariant: experiments that agree in the factors that the section depends on get the same object, so that
    an object's identity can stand for its content.
    """

    grid: Grid
    rule: StageRule
    section: str
    template: Template
    model: type[Model]
    _known: dict[Any, Model] = field(default_factory=dict)
    _failed: dict[Any, GridError] = field(default_factory=dict)
    _left: dict[int, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._key = projection(self.template.depends)

    def get(self, vector: Vector) -> Model:
        """The settings for `vector`.

        Raises:
            GridError: they are refused; asked again, they are refused with the same error.
        """
        key = self._key(vector)
        found = self._known.get(key)
        if found is not None:
            return found
        if key in self._failed:
            raise self._failed[key]
        try:
            found = self._known[key] = self._validated(vector)
        except GridError as error:
            self._failed[key] = error
            raise
        return found

    def left(self, settings: Model) -> frozenset[str]:
        """The keys of `settings`, which `get` gave, that the grid leaves to the plan: those that say `auto`."""
        return self._left.get(id(settings), frozenset())

    def _validated(self, vector: Vector) -> Model:
        what = f"{self.section} of stage {self.rule.name!r} (kind {self.rule.kind.name})"
        path = (*self.rule.path, self.section)
        values = self.template.build(vector)
        left = _automatic(self.section, values)
        given = {key: value for key, value in values.items() if key not in left} if left else values
        found = validate(self.model, given, what, lambda inner: self.grid.place((*path, *inner), vector))
        if left:
            self._left[id(found)] = left
        return found


def _automatic(section: str, values: Any) -> frozenset[str]:
    if not isinstance(values, dict):
        return frozenset()
    return frozenset(name for name in AUTOMATIC.get(section, ()) if values.get(name) == AUTO)
