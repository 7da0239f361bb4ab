"""Templates: values of a grid that differ from one experiment to the next, compiled once.

A template knows which factors it depends on, so that whoever builds from it can keep what it built for equal
levels.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from orchestrator.errors import mistake, unknown
from orchestrator.factors import Space, Vector
from orchestrator.references import readable, shielded_parts


@dataclass(frozen=True)
class Template:
    """`build(vector)` gives the value for one experiment; it reads no positions but `depends`.

    What it gives may be shared between calls: it must not be changed.
    """

    depends: frozenset[int]
    build: Callable[[Vector], Any]

    @property
    def constant(self) -> bool:
        """Whether the value is the same for every experiment."""
        return not self.depends


def constant(value: Any) -> Template:
    """The template of a value without references."""
    return Template(frozenset(), lambda vector: value)


def projection(depends: Iterable[int]) -> Callable[[Vector], Any]:
    """The part of a vector at the positions `depends`, as a key for what depends on them alone."""
    positions = sorted(depends)
    return itemgetter(*positions) if positions else lambda vector: ()


class Compiler:
    """Compiles the values of one grid; attributes of levels are compiled once for all that refer to them."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._compiled: dict[str, Template] = {}
        self._open: list[str] = []

    def compile(self, value: Any, place: str) -> Template:
        """The template of a shielded value (see `orchestrator.references`).

        Raises:
            GridError: a reference to an attribute that no level has, or that goes round in a circle.
        """
        if isinstance(value, str):
            return self._string(value, place)
        if isinstance(value, dict):
            return self._mapping(value, place)
        return self._sequence(value, place) if isinstance(value, list) else constant(value)

    def _string(self, text: str, place: str) -> Template:
        parts = shielded_parts(text)
        if len(parts) == 1:
            return constant(text)
        targets = [self._reference(target, place) for target in parts[1::2]]
        if len(targets) == 1 and not parts[0] and not parts[2]:
            return targets[0]
        words = [constant(word) for word in parts]
        words[1::2] = targets
        return Template(_union(words), lambda vector: "".join(str(word.build(vector)) for word in words))

    def _mapping(self, value: dict[Any, Any], place: str) -> Template:
        items = {key: self.compile(item, place) for key, item in value.items()}
        if all(item.constant for item in items.values()):
            return constant({key: item.build(()) for key, item in items.items()})
        builders = [(key, item.build) for key, item in items.items()]
        return Template(
            _union(items.values()), lambda vector: {key: build(vector) for key, build in builders}
        )

    def _sequence(self, value: list[Any], place: str) -> Template:
        items = [self.compile(item, place) for item in value]
        if all(item.constant for item in items):
            return constant([item.build(()) for item in items])
        return Template(_union(items), lambda vector: [item.build(vector) for item in items])

    def _reference(self, target: str, place: str) -> Template:
        if target in self._open:
            circle = " -> ".join([*self._open[self._open.index(target) :], target])
            raise mistake(place, f"references that go round in a circle: {circle}")
        if target not in self._compiled:
            self._open.append(target)
            try:
                self._compiled[target] = self._compile_reference(target, place)
            finally:
                self._open.pop()
        return self._compiled[target]

    def _compile_reference(self, target: str, place: str) -> Template:
        factor, *names = target.split(".")
        position = self.space.position[factor]
        if not names:
            return Template(frozenset([position]), itemgetter(position))
        attribute = ".".join(names)
        values = self.space.attribute(factor, tuple(names))
        if not values:
            allowed = self.space.attribute_names(factor)
            raise mistake(
                place, unknown("attribute", attribute, allowed, f" of factor {factor!r} in ${{{target}}}")
            )
        by_level = {level: self.compile(value, place) for level, value in values.items()}
        return Template(_union(by_level.values()) | {position}, _by_level(by_level, position, target, place))


def _by_level(
    by_level: dict[Any, Template], position: int, target: str, place: str
) -> Callable[[Vector], Any]:
    """The builder of an attribute: an absent factor gives None, a level without it is a mistake."""
    factor, _, attribute = target.partition(".")
    builders = {level: template.build for level, template in by_level.items()}

    def build(vector: Vector) -> Any:
        level = vector[position]
        builder = builders.get(level)
        if builder is not None:
            return builder(vector)
        if level is None:
            return None
        has = ", ".join(map(str, builders))
        raise mistake(
            place,
            f"level {level!r} of factor {factor!r} has no attribute {attribute!r}, "
            f"which {readable(f'${{{target}}}')} needs; these levels have it: {has}",
        )

    return build


def _union(templates: Iterable[Template]) -> frozenset[int]:
    return frozenset().union(*(template.depends for template in templates))
