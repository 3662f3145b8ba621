"""Round trips: an expression survives text, SymPy and DEAP, and text keeps every bit of its values."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import sympy
from deap import gp
from hypothesis import assume, example, given, settings

from expressions.complexity import out_of_range
from expressions.equivalence import comparison_rows
from expressions.expression import Expression
from expressions.operators import BY_NAME, CONSTANT, FIRST_VARIABLE, SHIPPED, operator
from expressions.parsing import parse
from tests.strategies import ALL_OPERATORS, ANY_CONSTANTS, expressions, well_conditioned

X = comparison_rows(3, rows=60)


def values(expression: Expression) -> np.ndarray:
    with np.errstate(all="ignore"):
        return expression(X)


@settings(max_examples=300, deadline=None)
@given(expressions(operators=ALL_OPERATORS, constants=ANY_CONSTANTS))
def test_text_keeps_every_bit(expression: Expression) -> None:
    text = expression.infix()
    again = parse(text)
    expected, found = values(expression), values(again)
    assert np.array_equal(expected, found, equal_nan=True)
    assert np.array_equal(values(parse(again.infix())), expected, equal_nan=True)


@settings(max_examples=100, deadline=None)
@given(expressions(operators=ALL_OPERATORS))
def test_text_with_names(expression: Expression) -> None:
    names = ["HouseAge", "e", "sin"]
    assert np.array_equal(values(parse(expression.infix(names), names)), values(expression), equal_nan=True)


@settings(max_examples=150, deadline=None)
@given(expressions(max_depth=4, operators=("add", "sub", "mul", "div", "neg", "sin", "exp", "tanh", "square")))
@example(parse("sin(exp(-x0)**2)"))
def test_sympy_round_trip(expression: Expression) -> None:
    assume(not out_of_range(expression))
    tree = expression.to_sympy()
    assume(tree.is_finite is not False and not tree.has(sympy.zoo, sympy.nan, sympy.oo))
    assume(all(abs(number) < 1e300 for number in tree.atoms(sympy.Number)))  # SymPy's numbers have no end
    again = Expression.from_sympy(tree)
    expected, found = values(expression), values(again)
    both = np.isfinite(expected) & np.isfinite(found)
    usual = np.median(np.abs(expected[both])) if both.any() else 0.0
    for each in (expression, again):  # the sine of 1e54 has no digit that is certain
        both &= well_conditioned(each, X, within=1e-9, least=1.0 + usual)
    assert np.allclose(found[both], expected[both], rtol=1e-8, atol=1e-8 * (1.0 + usual))


def primitive_set() -> gp.PrimitiveSet:
    pset = gp.PrimitiveSet("equation", 3)
    for row in SHIPPED:
        pset.addPrimitive(lambda *_: None, row.arity, name=row.name)
    pset.renameArguments(ARG0="x0", ARG1="x1", ARG2="x2")
    return pset


def deap_tree(expression: Expression, pset: gp.PrimitiveSet) -> gp.PrimitiveTree:
    constants = iter(expression.constants.tolist())
    nodes: list[Any] = []
    for token in expression.tokens.tolist():
        if token == CONSTANT:
            nodes.append(gp.Terminal(next(constants), False, pset.ret))
        else:
            name = f"x{token - FIRST_VARIABLE}" if token >= FIRST_VARIABLE else operator(token).name
            nodes.append(pset.mapping[name])
    return gp.PrimitiveTree(nodes)


@settings(max_examples=150, deadline=None)
@given(expressions(operators=ALL_OPERATORS, constants=ANY_CONSTANTS))
def test_from_a_deap_tree(expression: Expression) -> None:
    pset = primitive_set()
    assert Expression.from_deap(deap_tree(expression, pset), pset) == expression


@settings(max_examples=100, deadline=None)
@given(expressions(operators=ALL_OPERATORS))
def test_structure(expression: Expression) -> None:
    assert pickle.loads(pickle.dumps(expression)) == expression
    children = expression.children()
    assert len(expression) == 1 + sum(len(child) for child in children)
    assert expression.depth == (1 + max(child.depth for child in children) if children else 0)
    if children:
        name = expression.fold(lambda *_: "", lambda row, *_: row.name)
        assert Expression.apply(name, *children) == expression
        assert BY_NAME[name].arity == len(children)
    assert hash(Expression(expression.tokens, expression.constants)) == hash(expression)


@pytest.mark.parametrize("tokens", [[], [1], [1, 0], [0, 0], [-1]])
def test_incomplete_programs(tokens: list[int]) -> None:
    with pytest.raises(ValueError, match=r"prefix program|at least one token|constant tokens"):
        Expression(tokens)
