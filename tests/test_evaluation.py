"""Batches of expressions: the values are SymPy's, and sharing, buffers and company change no bit of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy
import torch
from hypothesis import example, given, reject, settings
from hypothesis import strategies as st

from expressions.equivalence import comparison_rows
from expressions.evaluation import Evaluator, Plan, evaluate_torch
from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE
from expressions.parsing import parse
from tests.strategies import (
    ALL_OPERATORS,
    ANY_CONSTANTS,
    PLAIN_OPERATORS,
    expressions,
    random_expression,
    well_conditioned,
)

DTYPES = [np.float32, np.float64]
# The others are, to the last digit, what another library makes of logarithms: pow of cbrt, sinh and the like.
SMOOTH = ("add", "sub", "mul", "div", "neg", "inv", "square", "cube", "sqrt", "abs", "exp", "log", "sin", "cos",
          "tan", "atan", "tanh", "max", "min")  # fmt: skip


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal bits, but for the payload of NaN."""
    nan = np.isnan(a)
    return a.dtype == b.dtype and np.array_equal(nan, np.isnan(b)) and a[~nan].tobytes() == b[~nan].tobytes()


def population(seed: int, count: int = 60) -> list[Expression]:
    """Expressions that share subtrees, with whole individuals twice."""
    rng = np.random.default_rng(seed)
    parts = [random_expression(rng, 3, 3, ALL_OPERATORS) for _ in range(8)]
    batch = []
    for _ in range(count):
        first, second = rng.choice(len(parts), 2)
        name = str(rng.choice(["add", "sub", "mul", "div", "pow", "safe_div", "max"]))
        batch.append(Expression.apply(name, parts[first], parts[second]))
        if rng.random() < 0.3:
            batch.append(Expression.apply(str(rng.choice(["cube", "pow5", "tanh", "safe_log"])), batch[-1]))
        parts[first] = batch[-1] if len(batch[-1]) < 40 else parts[first]
    return [*batch, *batch[:5], *parts]


# --- the right values -------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(expressions(max_depth=4, operators=SMOOTH, constants=st.floats(-9.0, 9.0, allow_subnormal=False)))
@example(parse("log(x0/x0 + 0)*-(-x0)"))
@example(parse("max(-log(-1) + (x0 - 0), -(-(x0 - x0)))"))
def test_values_are_those_of_sympy(expression: Expression) -> None:
    X = comparison_rows(3, rows=60)
    # SymPy must not rewrite the tree: what it makes of it may be better or worse conditioned.
    symbols = sympy.symbols("x0:3", real=True)

    def leaf(token: int, value: float) -> Any:
        return sympy.Float(value, 17) if token == CONSTANT else symbols[token - FIRST_VARIABLE]

    with sympy.evaluate(False):
        try:
            tree = expression.fold(leaf, lambda row, *arguments: row.sympy(sympy, *arguments))
        except RecursionError:  # SymPy 1.14 orders the arguments of max without end where one holds log(-1)
            reject()
    with np.errstate(all="ignore"):
        try:
            expected = sympy.lambdify(symbols, tree, "numpy")(*X.T.astype(complex))
        except (ArithmeticError, KeyError):  # 1/0 is refused by Python, or an infinity without code
            reject()
    expected = np.broadcast_to(np.asarray(expected, dtype=complex), len(X))
    found = Evaluator(X, np.float64).values([expression])[0]
    rows = well_conditioned(expression, X) & np.isfinite(expected)
    assert (np.abs(found[rows] - expected[rows]) <= 1e-12 * np.abs(found[rows]) + 1e-300).all()


@settings(max_examples=100, deadline=None)
@given(expressions(max_depth=5, operators=ALL_OPERATORS))
@example(parse("x0**2.0 + x1**(1 + 1)"))
def test_float64_is_the_reference(expression: Expression) -> None:
    X = comparison_rows(3, rows=40)
    # Whether max(-0, 0) is -0 or 0 depends on NumPy's kernel, and so on the length of the column: 0.0 makes it 0.
    assert same(Evaluator(X, np.float64).values([expression])[0] + 0.0, expression(X) + 0.0)


# --- sharing changes nothing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_batch_equals_one_by_one(dtype: Any, rows: int) -> None:
    X = np.random.default_rng(1).normal(size=(rows, 3)) * 2
    evaluator = Evaluator(X, dtype)
    for seed in range(5):
        batch = population(seed)
        values = evaluator.values(batch)
        for k, expression in enumerate(batch):
            assert same(values[k], Evaluator(X, dtype).values([expression])[0])
            if dtype == np.float64:
                assert same(values[k], expression(X))
        shuffled = np.random.default_rng(seed).permutation(len(batch))
        assert same(evaluator.values([batch[k] for k in shuffled]), values[shuffled])


@settings(max_examples=60, deadline=None)
@given(st.lists(expressions(max_depth=4, operators=ALL_OPERATORS, constants=ANY_CONSTANTS), max_size=8))
def test_batch_equals_one_by_one_with_any_constants(batch: list[Expression]) -> None:
    X = comparison_rows(3, rows=30)
    for dtype in DTYPES:
        evaluator = Evaluator(X, dtype)
        values = evaluator.values(batch)
        assert values.shape == (len(batch), 30)
        for k, expression in enumerate(batch):
            assert same(values[k], evaluator.values([expression])[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_visit_hands_out_the_same_values(dtype: Any) -> None:
    X = np.random.default_rng(2).normal(size=(200, 3))
    evaluator = Evaluator(X, dtype)
    for seed in range(5):
        batch = [*population(seed), parse("x1"), parse("2.5"), parse("sin(2.5)"), parse("x1")]
        found = np.full((len(batch), 200), 7, dtype=dtype)
        times = np.zeros(len(batch), dtype=int)

        def consume(index: int, column: np.ndarray, found: np.ndarray = found, times: np.ndarray = times) -> None:
            found[index] = column
            times[index] += 1

        evaluator.visit(batch, consume)
        assert (times == 1).all()
        assert same(found, evaluator.values(batch))


def test_columns_of_the_table_survive() -> None:
    X = np.random.default_rng(3).normal(size=(50, 3))
    evaluator = Evaluator(X, np.float64)
    for seed in range(3):
        evaluator.values(population(seed))
    assert np.array_equal(evaluator.values([Expression.variable(j) for j in range(3)]), X.T)


def test_buffers_do_not_grow_from_batch_to_batch() -> None:
    evaluator = Evaluator(np.ones((100, 3)), np.float32)
    evaluator.values(population(0))
    spare = len(evaluator._spare)
    for _ in range(5):
        evaluator.values(population(0))
    assert len(evaluator._spare) == spare


def test_equal_subtrees_are_one_node() -> None:
    plan = Plan.of([parse("sin(x0 + x1)*(x1 + x0)"), parse("sin(x1 + x0)"), parse("x0 - x1")], 2)
    assert len(plan) == 4  # the sum, its sine, their product, the difference
    assert len(set(plan.roots)) == 3


# --- a buffer of the caller's -----------------------------------------------------------------------------------


def test_values_in_a_given_buffer() -> None:
    X = np.random.default_rng(4).normal(size=(120, 3))
    evaluator = Evaluator(X, np.float32)
    for seed in range(3):
        out = np.full((200, 120), np.float32(9))
        batch = [*population(seed), parse("x1"), parse("3"), parse("x1")]
        values = evaluator.values(batch, out=out)
        assert values.base is out
        assert same(values, Evaluator(X, np.float32).values(batch))
        assert (out[len(batch) :] == 9).all()
        before = values.copy()
        evaluator.values(population(seed + 1))  # the buffer is the caller's again
        assert same(values, before)


@pytest.mark.parametrize(
    "out",
    [np.empty((1, 10), np.float32), np.empty((2, 9), np.float32), np.empty((2, 10)), np.empty(20, np.float32)],
)
def test_buffers_that_do_not_fit(out: np.ndarray) -> None:
    with pytest.raises(ValueError, match="out is"):
        Evaluator(np.ones((10, 1)), np.float32).values([parse("x0"), parse("x0 + 1")], out=out)


# --- torch ------------------------------------------------------------------------------------------------------


def test_torch_agrees() -> None:
    X = comparison_rows(3, rows=50)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        batch = [random_expression(rng, 3, 4, PLAIN_OPERATORS) for _ in range(40)]
        batch += [batch[0], parse("x2"), parse("1.5"), parse("safe_log(x0) + safe_div(x1, 0)*safe_sqrt(x2)")]
        found = evaluate_torch(batch, torch.tensor(X)).numpy()
        expected = Evaluator(X, np.float64).values(batch)
        assert found.shape == expected.shape
        for k, expression in enumerate(batch):
            rows = well_conditioned(expression, X)
            assert np.allclose(found[k][rows], expected[k][rows], rtol=1e-10, atol=0.0)


def test_torch_keeps_type_and_device() -> None:
    values = evaluate_torch([parse("x0 + 1")], torch.ones((3, 1), dtype=torch.float32))
    assert values.dtype == torch.float32
    assert values.tolist() == [[2.0, 2.0, 2.0]]


# --- edges ------------------------------------------------------------------------------------------------------


def test_constants_beyond_float32() -> None:
    batch = [parse("x0*1e300"), parse("1e-300 + x0"), parse("1e300"), parse("x0/1e300")]
    values = Evaluator(np.full((2, 1), 2.0), np.float32).values(batch)
    assert values[:, 0].tolist() == [np.inf, 2.0, np.inf, 0.0]
    assert Evaluator(np.full((2, 1), 2.0), np.float64).values(batch)[0, 0] == 2e300


def test_zeros_keep_their_sign() -> None:
    zero, minus_zero = Expression.constant(0.0), Expression.constant(-0.0)
    batch = [Expression.apply("inv", z) for z in (zero, minus_zero, zero, minus_zero)]
    batch += [Expression.apply("div", Expression.variable(0), z) for z in (minus_zero, zero)]
    values = Evaluator(np.ones((2, 1)), np.float64).values(batch)
    assert values[:, 0].tolist() == [np.inf, -np.inf, np.inf, -np.inf, -np.inf, np.inf]


def test_variable_that_the_table_does_not_have() -> None:
    for batch in ([parse("x0 + x2")], [parse("x0"), parse("x2")]):
        with pytest.raises(ValueError, match="variable 2 of a table with 2 columns"):
            Evaluator(np.ones((4, 2))).values(batch)
        with pytest.raises(ValueError, match="variable 2 of a table with 2 columns"):
            evaluate_torch(batch, torch.ones((4, 2)))


def test_empty_batch_and_empty_table() -> None:
    evaluator = Evaluator(np.ones((4, 2)))
    assert evaluator.values([]).shape == (0, 4)
    evaluator.visit([], lambda index, column: pytest.fail("nothing to visit"))
    batch = [parse("x0*2 + sin(3)"), parse("3"), parse("x0"), parse("x0**3")]
    assert Evaluator(np.ones((0, 2))).values(batch).shape == (4, 0)


def test_constant_expressions_fill_their_rows() -> None:
    batch = [parse("2"), parse("2 + 3*4"), parse("2"), parse("sin(2)*x0"), parse("log(0 - 1)"), parse("sin(2)")]
    values = Evaluator(np.full((3, 1), 2.0), np.float64).values(batch)
    assert values[:, 2].tolist()[:4] == [2.0, 14.0, 2.0, np.sin(2.0) * 2.0]
    assert np.isnan(values[4]).all()
    assert (values[5] == np.sin(2.0)).all()


def test_rows_without_a_finite_value() -> None:
    X = np.array([[np.nan], [np.inf], [-np.inf], [1e300]])
    values = Evaluator(X, np.float32).values([parse("x0 - x0"), parse("x0*0"), parse("log(-abs(x0))")])
    assert np.isnan(values).all()


def test_a_chain_longer_than_the_stack() -> None:
    tokens = [FIRST_VARIABLE]
    for _ in range(5_000):
        tokens = [*parse("sin(x0)").tokens[:1].tolist(), *tokens]
    expression = Expression(tokens)
    values = Evaluator(np.ones((3, 1)), np.float64).values([expression])
    assert same(values[0], expression(np.ones((3, 1))))
