"""Templates: references to factors become values, and depend on nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import GridError
from orchestrator.factors import Factor, Space
from orchestrator.references import readable, resolve_constants, shield, trace, whole_reference
from orchestrator.source import Document
from orchestrator.templates import Compiler

ATTRIBUTES = {
    "model": {"one": {"layers": 1, "nested": {"deep": [1, 2]}}, "two": {"layers": 2}},
    "method": {
        "sft": {"settings": {"rate": "${rate}", "layers": "${model.layers}"}},
        "dpo": {"settings": {"rate": 5, "layers": 0}},
    },
}
NAMES = ("model", "method", "rate", "step")
SPACE = Space(
    (Factor("model", ("one", "two")), Factor("method", ("sft", "dpo")), Factor("rate", (0.1, 0.2))),
    {factor: shield(levels, NAMES) for factor, levels in ATTRIBUTES.items()},
    loops=("step",),
)
VECTOR = ("one", "sft", 0.1, 7)


def build(value: object, vector: Any = VECTOR) -> object:
    return Compiler(SPACE).compile(shield(value, NAMES), "here").build(vector)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        (3, 3),
        (None, None),
        ("${model}", "one"),
        ("${rate}", 0.1),
        ("${step}", 7),
        ("${ model.layers }", 1),
        ("${model.nested}", {"deep": [1, 2]}),
        ("${model.nested.deep}", [1, 2]),
        ("${method.settings}", {"rate": 0.1, "layers": 1}),
        ("${model}-${method.settings.rate}!", "one-0.1!"),
        ({"a": ["${model}", {"b": "${rate}"}], "c": 1}, {"a": ["one", {"b": 0.1}], "c": 1}),
    ],
)
def test_value(value: object, expected: object) -> None:
    assert build(value) == expected


@pytest.mark.parametrize(
    ("value", "depends"),
    [
        ({"a": [1, "x"]}, set()),
        ("${rate}", {2}),
        ("${model.layers}", {0}),
        ("${method.settings}", {0, 1, 2}),
        (["${step}", "${model}"], {0, 3}),
    ],
)
def test_depends_on_what_any_level_refers_to(value: object, depends: set[int]) -> None:
    assert Compiler(SPACE).compile(shield(value, NAMES), "here").depends == depends


def test_an_absent_factor_gives_nothing() -> None:
    assert build("${model.layers}", (None, "sft", 0.1, 7)) is None
    assert build("${model}", (None, "sft", 0.1, 7)) is None


def test_a_level_without_the_attribute_is_a_mistake_only_when_used() -> None:
    assert build("${model.nested}") == {"deep": [1, 2]}
    with pytest.raises(GridError, match=r"level 'two' of factor 'model' has no attribute 'nested'"):
        build("${model.nested}", ("two", "sft", 0.1, 7))


@given(
    st.recursive(
        st.sampled_from(["${model}", "${rate}", "${method.settings}", "x ${step}", 1, "plain"]),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        ),
    ),
    st.tuples(
        st.sampled_from(["one", "two"]),
        st.sampled_from(["sft", "dpo"]),
        st.sampled_from([0.1, 0.2]),
        st.sampled_from([None, 1]),
    ),
)
def test_reads_nothing_that_it_does_not_depend_on(value: object, other: Any) -> None:
    template = Compiler(SPACE).compile(shield(value, NAMES), "here")
    mixed = tuple(
        old if position in template.depends else new
        for position, (old, new) in enumerate(zip(VECTOR, other, strict=True))
    )
    assert template.build(VECTOR) == template.build(mixed)


def test_whole_reference() -> None:
    assert whole_reference("${a.b-c.d}") == "a.b-c.d"
    assert whole_reference(" ${a} ") == "a"
    assert whole_reference("x${a}") is None
    assert whole_reference("${a}${b}") is None


def test_shield_hides_only_factors_and_can_be_read() -> None:
    hidden = shield("${model.x} ${other}", NAMES)
    assert "${other}" in hidden
    assert "${model" not in hidden
    assert readable(hidden) == "${model.x} ${other}"


def test_constants_are_put_in_and_factors_are_left() -> None:
    document = Document(
        "grid.yaml", {"a": {"b": 3}, "whole": "${a}", "text": "n${a.b}", "mixed": "${model}/${a.b}"}
    )
    resolved = resolve_constants(document, NAMES)
    assert resolved["whole"] == {"b": 3}
    assert resolved["text"] == "n3"
    assert readable(resolved["mixed"]) == "${model}/3"


def test_trace_follows_constants_and_levels() -> None:
    values = {
        "stage": {"training": "${method.settings}"},
        "levels": {"method": {"sft": {"settings": "${rates}"}}},
        "rates": {"speed": 1},
    }
    document = Document("grid.yaml", values)
    levels = {"method": "sft"}
    assert trace(document, ("stage", "training", "speed"), levels.get) == ("rates", "speed")
    assert trace(document, ("rates", "speed"), levels.get) == ("rates", "speed")
