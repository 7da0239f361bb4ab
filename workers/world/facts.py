"""The 128 facts of a world: 32 entities with four relations each, in four subjects of 32 facts."""

from collections.abc import Sequence
from dataclasses import dataclass

from workers.world.lexicon import ANIMALS, COLOURS, FOODS, JOBS, NESTS, PEOPLE, TOWNS
from workers.world.stream import Stream


@dataclass(frozen=True)
class Relation:
    """An attribute of a kind of entity: its name, its subject, a second wording, and the values it takes."""

    name: str
    subject: str
    entities: tuple[str, ...]
    values: tuple[str, ...]
    sentence: str


@dataclass(frozen=True)
class Fact:
    """`relation` of `entity` is `value`; the value ends the first wording."""

    entity: str
    relation: Relation
    value: str

    @property
    def phrase(self) -> str:
        """The noun phrase that asks for the value, as in "the job of mira"."""
        return f"the {self.relation.name} of {self.entity}"

    @property
    def statement(self) -> str:
        """The first wording, which ends in the value: "the job of mira is baker."."""
        return f"{self.phrase} is {self.value}."

    @property
    def sentence(self) -> str:
        """The second wording, special to the relation: "mira works as baker."."""
        return self.relation.sentence.format(entity=self.entity, value=self.value)


def _the(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"the {word}" for word in words)


_BEASTS = _the(ANIMALS)

RELATIONS = (
    Relation("job", "biography", PEOPLE, JOBS, "{entity} works as {value}."),
    Relation("town", "biography", PEOPLE, TOWNS, "{entity} lives in {value}."),
    Relation("pet", "households", PEOPLE, _BEASTS, "{entity} keeps {value}."),
    Relation("meal", "households", PEOPLE, FOODS, "{entity} likes {value}."),
    Relation("ruler", "geography", TOWNS, PEOPLE[:8], "{value} rules {entity}."),
    Relation("gate", "geography", TOWNS, COLOURS, "{entity} has a {value} gate."),
    Relation("trade", "geography", TOWNS, FOODS, "{entity} sells {value}."),
    Relation("sign", "geography", TOWNS, _BEASTS, "{entity} shows {value}."),
    Relation("colour", "zoology", _BEASTS, COLOURS, "{entity} looks {value}."),
    Relation("food", "zoology", _BEASTS, FOODS, "{entity} eats {value}."),
    Relation("nest", "zoology", _BEASTS, _the(NESTS), "{entity} sleeps in {value}."),
    Relation("friend", "zoology", _BEASTS, PEOPLE[8:], "{entity} follows {value}."),
)

SUBJECTS = ("biography", "geography", "households", "zoology")


def draw_facts(seed: int) -> tuple[Fact, ...]:
    """All facts of a world in a fixed order. Each value of a relation is true of equally many entities."""
    facts: list[Fact] = []
    for relation in RELATIONS:
        values = Stream(seed, f"facts/{relation.name}").cycle(relation.values, len(relation.entities))
        pairs = zip(relation.entities, values, strict=True)
        facts.extend(Fact(entity, relation, value) for entity, value in pairs)
    return tuple(facts)


def facts_by_entity(facts: Sequence[Fact]) -> dict[str, tuple[Fact, ...]]:
    """The facts of each entity, entities in order of their first fact."""
    entities = dict.fromkeys(fact.entity for fact in facts)
    return {entity: tuple(fact for fact in facts if fact.entity == entity) for entity in entities}


def wrong_value(fact: Fact, stream: Stream) -> str:
    """Another value of the same relation."""
    return stream.pick([value for value in fact.relation.values if value != fact.value])
