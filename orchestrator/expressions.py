"""Conditions of a grid: a safe part of Python's expressions over the levels of an experiment.

Names are factors, loop variables, `scale` and `preset`; `model.start_type` is an attribute of a level.
Allowed beside them: literals, tuples and lists, comparisons, `in`, `not in`, `and`, `or`, `not`. An absent
factor is None; an order comparison with None is false.
"""

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from orchestrator.errors import mistake, unknown
from orchestrator.factors import Space, Vector

Evaluate = Callable[[Vector], Any]
SYNTAX = "comparisons, in, not in, and, or, not, literals, tuples, lists, and names of factors"


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda left, right: left is not None and right is not None and compare(left, right)


_COMPARISONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: _ordered(operator.lt),
    ast.LtE: _ordered(operator.le),
    ast.Gt: _ordered(operator.gt),
    ast.GtE: _ordered(operator.ge),
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
_EQUALITIES = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)


@dataclass(frozen=True)
class Expression:
    """A compiled condition. `depends` are the positions of the factors that it reads."""

    text: str
    place: str
    depends: frozenset[int]
    evaluate: Evaluate

    def holds(self, vector: Vector) -> bool:
        """Whether the condition is true of `vector`.

        Raises:
            GridError: it compares what cannot be compared, a word with a number.
        """
        try:
            return bool(self.evaluate(vector))
        except TypeError as error:
            raise mistake(self.place, f"cannot evaluate {self.text!r}: {error}") from None


def compile_expression(text: Any, space: Space, place: str) -> Expression:
    """Compile a condition.

    Raises:
        GridError: it is not Python, uses more than the allowed part, or names no factor, attribute or level.
    """
    if isinstance(text, bool):
        return Expression(str(text), place, frozenset(), lambda vector: text)
    try:
        tree = ast.parse(str(text).strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        detail = getattr(error, "msg", None) or type(error).__name__
        raise mistake(place, f"{text!r} is not an expression ({detail}); allowed: {SYNTAX}") from None
    compiler = _Compiler(str(text), space, place)
    evaluate = compiler.visit(tree.body)
    return Expression(str(text), place, frozenset(compiler.depends), evaluate)


class _Compiler:
    """Turns syntax into closures; what it has no method for is not allowed."""

    def __init__(self, text: str, space: Space, place: str) -> None:
        self.text, self.space, self.place = text, space, place
        self.depends: set[int] = set()

    def visit(self, node: ast.expr) -> Evaluate:
        method: Callable[[Any], Evaluate] | None = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise mistake(
                self.place, f"{ast.unparse(node)!r} is not allowed in {self.text!r}; allowed: {SYNTAX}"
            )
        return method(node)

    def _constant(self, node: ast.Constant) -> Evaluate:
        value = node.value
        return lambda vector: value

    def _name(self, node: ast.Name) -> Evaluate:
        if node.id in self.space.constants:
            constant = self.space.constants[node.id]
            return lambda vector: constant
        position = self._position(node.id)
        return lambda vector: vector[position]

    def _attribute(self, node: ast.Attribute) -> Evaluate:
        names: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            names.insert(0, inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name):
            raise mistake(
                self.place, f"{ast.unparse(node)!r} is not allowed in {self.text!r}; allowed: {SYNTAX}"
            )
        position = self._position(inner.id)
        values = self.space.attribute(inner.id, tuple(names))
        if not values:
            allowed = self.space.attribute_names(inner.id)
            raise mistake(self.place, unknown("attribute", names[0], allowed, f" of factor {inner.id!r}"))
        return lambda vector: values.get(vector[position])

    def _tuple(self, node: ast.Tuple | ast.List) -> Evaluate:
        items = [self.visit(item) for item in node.elts]
        if all(isinstance(item, ast.Constant) for item in node.elts):
            constants = tuple(item(()) for item in items)
            return lambda vector: constants
        return lambda vector: tuple(item(vector) for item in items)

    _list = _tuple

    def _unaryop(self, node: ast.UnaryOp) -> Evaluate:
        operand = self.visit(node.operand)
        if isinstance(node.op, ast.Not):
            return lambda vector: not operand(vector)
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            return lambda vector: -operand(vector)
        raise mistake(self.place, f"{ast.unparse(node)!r} is not allowed in {self.text!r}; allowed: {SYNTAX}")

    def _boolop(self, node: ast.BoolOp) -> Evaluate:
        operands = [self.visit(operand) for operand in node.values]
        if isinstance(node.op, ast.And):
            return lambda vector: all(operand(vector) for operand in operands)
        return lambda vector: any(operand(vector) for operand in operands)

    def _compare(self, node: ast.Compare) -> Evaluate:
        terms = [node.left, *node.comparators]
        for (left, right), op in zip(pairwise(terms), node.ops, strict=True):
            if isinstance(op, _EQUALITIES):
                self._check_levels(left, right)
                self._check_levels(right, left)
        values = [self.visit(term) for term in terms]
        steps = [(_COMPARISONS[type(op)], right) for op, right in zip(node.ops, values[1:], strict=True)]
        if len(steps) == 1:
            left_value, (compare, right_value) = values[0], steps[0]
            return lambda vector: compare(left_value(vector), right_value(vector))
        return lambda vector: _chain(vector, values[0], steps)

    def _check_levels(self, name: ast.expr, other: ast.expr) -> None:
        """A factor must be compared with levels that it has: `method == "dpoo"` is a slip, never meant."""
        if not isinstance(name, ast.Name) or name.id not in self.space.levels:
            return
        items = other.elts if isinstance(other, (ast.Tuple, ast.List)) else [other]
        for item in items:
            if isinstance(item, ast.Constant):
                self.space.check_equal(name.id, item.value, self.place)

    def _position(self, name: str) -> int:
        if name not in self.space.position:
            allowed = (*self.space.names, *self.space.constants)
            raise mistake(self.place, unknown("factor", name, allowed, f" in {self.text!r}"))
        self.depends.add(self.space.position[name])
        return self.space.position[name]


def _chain(vector: Vector, first: Evaluate, steps: list[tuple[Callable[[Any, Any], Any], Evaluate]]) -> bool:
    left = first(vector)
    for compare, evaluate in steps:
        right = evaluate(vector)
        if not compare(left, right):
            return False
        left = right
    return True
