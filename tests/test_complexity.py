"""Complexity is the number of nodes of SymPy's tree."""

from __future__ import annotations

import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from expressions import sympy_worker
from expressions.canonical_form import canonical
from expressions.complexity import complexity, out_of_range
from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE, TOKEN, Operator
from expressions.parsing import parse
from tests.strategies import expressions


def srbench_count(expression: Expression) -> int:
    return sum(1 for _ in sympy.preorder_traversal(expression.to_sympy()))


def applies_to_numbers(expression: Expression) -> bool:
    """Whether an operator has only numbers below it: SymPy may then evaluate for as long as it likes."""

    def combine(row: Operator, *constant: int) -> int:
        return 2 if min(constant) >= 1 or 2 in constant else 0

    return expression.fold(lambda token, _: int(token == CONSTANT), combine) == 2


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("x0", 1),
        ("3", 1),
        ("x0 + x1 + 2", 4),
        ("x0 - x1", 5),
        ("x0/x1", 5),
        ("1/x0", 3),
        ("x0**2", 3),
        ("sqrt(x0)", 3),
        ("2*(x0 + x1)", 7),
        ("x0 + x0", 3),
        ("x0 - x0", 1),
        ("sin(3*x0 + 1)", 6),
        ("1 + 2", 1),
    ],
)
def test_complexity_of_known_trees(text: str, nodes: int) -> None:
    assert complexity(parse(text)) == nodes == srbench_count(parse(text))


POLYNOMIAL = ("add", "sub", "mul", "div", "neg", "inv", "square", "cube")
USUAL = (*POLYNOMIAL, "sin", "cos", "tan", "exp", "log", "sqrt", "tanh", "atan")


@settings(max_examples=300, deadline=None)
@given(expressions(variables=4, max_depth=4, operators=POLYNOMIAL))
def test_complexity_equals_sympy_on_rational_functions(expression: Expression) -> None:
    assume(not out_of_range(expression))
    assert complexity(expression) == srbench_count(expression)


@settings(max_examples=300, deadline=None)
@given(expressions(variables=4, max_depth=4, operators=USUAL))
def test_complexity_equals_sympy(expression: Expression) -> None:
    assume(not applies_to_numbers(expression) and not out_of_range(expression))
    assert complexity(expression) == srbench_count(expression)


@pytest.mark.parametrize(("constant", "beyond"), [(1.9e-170, True), (1.9e170, True), (1.9e-160, False)])
def test_where_numbers_go_beyond_a_thousand_digits_operators_are_added_up(constant: float, beyond: bool) -> None:
    expression = Expression.apply("square", Expression.apply("cube", Expression.constant(constant)))
    assert out_of_range(expression) == beyond
    assert complexity(expression) == (5 if beyond else srbench_count(expression))


GENERIC = st.floats(-9.0, 9.0, allow_subnormal=False).filter(lambda v: v != 0.0)


@settings(max_examples=300, deadline=None)
@given(
    expressions(
        variables=3,
        max_depth=5,
        operators=("add", "sub", "mul", "mul", "div", "sqrt", "sin", "cos", "tanh", "exp", "log", "square", "inv"),
        constants=GENERIC,
    )
)
def test_complexity_equals_sympy_on_expressions_of_a_search(expression: Expression) -> None:
    for form in (expression, canonical(expression)):
        assume(not applies_to_numbers(form) and not out_of_range(form))
        assert complexity(form) == srbench_count(form)


def test_where_sympy_gives_no_answer_operators_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    expression = parse("sin(x0) - 3*x1 - 4*x1 + 0.123")  # 7*x1 in SymPy
    sympy_worker.shut_down()
    monkeypatch.setattr(sympy_worker, "_START_SECONDS", 0.0)  # no worker is ready in time
    assert complexity.__wrapped__(expression) == 16
    monkeypatch.undo()
    assert complexity(expression) == srbench_count(expression) == 7


def test_complexity_of_a_very_long_sum_is_bounded_in_time() -> None:
    tokens = [TOKEN["add"]] * 20_000 + [FIRST_VARIABLE] * 20_001
    assert complexity(Expression(tokens)) == 40_001


def test_protected_operators_count_as_the_plain_ones() -> None:
    assert complexity(parse("safe_div(x0, x1) + safe_log(safe_sqrt(x0))")) == srbench_count(
        parse("x0/x1 + log(sqrt(x0))")
    )


def test_complexity_of_numbers_that_sympy_could_not_write_out() -> None:
    expression = parse("9**9**9**9 + x0")
    assert complexity(expression) == 9
    tower = parse("x0*7")
    for _ in range(12):
        tower = Expression.apply("pow6", tower)
    assert complexity(tower) == 27
