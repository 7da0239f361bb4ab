"""Expressions mean what Python means by them, over the levels of an experiment, and can do nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import GridError
from orchestrator.expressions import compile_expression
from orchestrator.factors import Factor, Space

SPACE = Space(
    (
        Factor("model", ("one", "two")),
        Factor("method", ("sft", "dpo")),
        Factor("rate", (0.1, 0.2)),
        Factor("seed", (0, 1)),
    ),
    {"model": {"one": {"type": "base", "size": {"layers": 2}}, "two": {"type": "chat"}}},
    loops=("step",),
    constants={"scale": "tiny"},
)
VECTOR = ("one", "dpo", 0.2, 1, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('model == "one"', True),
        ('model != "one"', False),
        ('model in ("two",)', False),
        ('model not in ["two"]', True),
        ('method == "dpo" and seed == 0', False),
        ('method == "sft" or seed == 1', True),
        ("not (seed == 0)", True),
        ("0 < rate <= 0.2", True),
        ("0 < rate < seed < 1", False),
        ('model.type == "base"', True),
        ("model.size.layers > 1", True),
        ('scale == "tiny"', True),
        ("step is None", True),
        ("step is not None", False),
        ("step > 3", False),
        ("step == 3", False),
        ("-1 < seed", True),
        ("seed", True),
        ("rate in (0.1, seed, -0.5)", False),
        (True, True),
        (False, False),
        (" seed == 1\n", True),
    ],
)
def test_value(text: object, expected: bool) -> None:
    assert compile_expression(text, SPACE, "here").holds(VECTOR) is expected


def test_an_attribute_is_none_where_the_level_lacks_it_or_the_factor_is_absent() -> None:
    expression = compile_expression("model.size.layers == 2", SPACE, "here")
    assert not expression.holds(("two", "dpo", 0.2, 1, None))
    assert not expression.holds((None, "dpo", 0.2, 1, None))


def test_depends_on_the_factors_that_it_reads() -> None:
    assert compile_expression('model.type == "chat" and seed == 1', SPACE, "here").depends == {0, 3}
    assert compile_expression('scale == "tiny"', SPACE, "here").depends == frozenset()


@pytest.mark.parametrize(
    "text",
    [
        "model.upper()",
        "[x for x in (1, 2)]",
        "(lambda: 1)()",
        "model + method",
        "seed ** 9",
        "f'{model}'",
        "model[0]",
        "'a'.join",
        "{1: 2}",
        "seed if model else rate",
        "(x := 1)",
        "~seed",
        "__builtins__",
        "model.__class__",
        "seed; rate",
        "",
        "(",
        "seed == 1 #" + "(" * 300,
        "model\x00",
    ],
)
def test_not_allowed(text: str) -> None:
    try:
        expression = compile_expression(text, SPACE, "here")
    except GridError as error:
        assert str(error).startswith("here: ")
    else:
        assert expression.depends == {3}, "a comment is no harm"


@given(st.text("modelseedrate ()[]=<>!andornti'\".,0123", max_size=30))
def test_any_text_compiles_or_is_a_mistake(text: str) -> None:
    try:
        compile_expression(text, SPACE, "here").holds(VECTOR)
    except GridError as error:
        assert error.problems[0].place == "here"


TERMS = st.sampled_from(
    ['model == "one"', 'method in ("sft",)', "rate < 0.15", "seed >= 1", "seed", "step == 1"]
)
EXPRESSIONS = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) and ({pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) or ({pair[1]})"),
        inner.map(lambda text: f"not ({text})"),
    ),
)
VECTORS: Any = st.tuples(
    st.sampled_from(["one", "two"]),
    st.sampled_from(["sft", "dpo"]),
    st.sampled_from([0.1, 0.2]),
    st.sampled_from([0, 1]),
    st.sampled_from([None, 1, 2]),
)


@given(EXPRESSIONS, VECTORS)
def test_equals_python(text: str, vector: Any) -> None:
    names = dict(zip(SPACE.names, vector, strict=True))
    assert compile_expression(text, SPACE, "here").holds(vector) == bool(eval(text, {}, names))


@given(EXPRESSIONS, VECTORS, VECTORS)
def test_reads_nothing_that_it_does_not_depend_on(text: str, vector: Any, other: Any) -> None:
    expression = compile_expression(text, SPACE, "here")
    mixed = tuple(
        old if position in expression.depends else new
        for position, (old, new) in enumerate(zip(vector, other, strict=True))
    )
    assert expression.holds(vector) == expression.holds(mixed)
