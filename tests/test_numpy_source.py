"""The source of an equation computes what the equation computes, and runs nothing that a table says."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings

from expressions.equivalence import comparison_rows
from expressions.expression import Expression
from expressions.numpy_source import numpy_source
from expressions.operators import OPERATORS
from expressions.parsing import parse
from tests.strategies import ALL_OPERATORS, ANY_CONSTANTS, expressions, well_conditioned

X = comparison_rows(3, rows=60)
NAMES = ("T", "lambda", "np")
SAME_BITS = tuple(name for name in ALL_OPERATORS if name != "erf")
HOSTILE = ['"""', "'; import os #", "a\nimport os", "\\", "\u2028x", "\udc80", "θ [°C]", "__debug__", "part_1", ""]


def loaded(source: str) -> dict[str, Any]:
    """The names of a module with this source."""
    source.encode()  # no half of a character
    names: dict[str, Any] = {}
    exec(compile(source, "equation.py", "exec"), names)
    return names


@settings(max_examples=300, deadline=None)
@given(expressions(operators=SAME_BITS, constants=ANY_CONSTANTS))
@example(parse("x0 - -2*x1 + -(x2*x0)/3 - (x0 - x1)"))
@example(parse("(-x0)**2 + (-2)**x1 + x0/0 + 1/(0*x1)"))
@example(parse("-x0*x1 + -(-x2)"))
def test_the_source_has_the_bits_of_the_equation(expression: Expression) -> None:
    found = loaded(numpy_source(expression, NAMES))["predict"](X)
    assert found.shape == (60,)
    assert np.array_equal(found, expression(X), equal_nan=True)


@pytest.mark.parametrize("row", OPERATORS, ids=lambda row: row.name)
def test_every_operator_has_a_form(row: Any) -> None:
    expression = Expression.apply(row.name, *map(Expression.variable, range(row.arity)))
    rows = np.concatenate([X, np.zeros((1, 3)), -X])
    found, expected = loaded(numpy_source(expression, NAMES))["predict"](rows), expression(rows)
    assert np.array_equal(np.isfinite(found), np.isfinite(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-15 if row.name == "erf" else 0, equal_nan=True)


@settings(max_examples=50, deadline=None)
@given(expressions(operators=("erf", "mul", "add", "safe_div"), max_depth=4))
def test_the_error_function_agrees_to_rounding(expression: Expression) -> None:
    found = loaded(numpy_source(expression, NAMES))["predict"](X)
    kept = well_conditioned(expression, X, within=1e-9)
    np.testing.assert_allclose(found[kept], expression(X)[kept], rtol=1e-9)


def test_a_long_or_deep_equation_is_cut_into_parts() -> None:
    total = Expression.variable(0)
    for k in range(3_000):
        total = Expression.apply("add", total, Expression.apply("sin", Expression.variable(k % 3)))
    nested = Expression.variable(0)
    for _ in range(1_000):
        nested = Expression.apply("tanh", nested)
    for expression in (total, nested):
        source = numpy_source(expression, NAMES)
        assert max(map(len, source.splitlines())) < 125
        assert np.array_equal(loaded(source)["predict"](X), expression(X))


def test_no_text_of_the_table_becomes_code() -> None:
    equation = parse(" + ".join(f"x{k}" for k in range(len(HOSTILE))))
    for names in (HOSTILE, [f"x{k}" for k in range(len(HOSTILE))]):
        source = numpy_source(equation, names, HOSTILE, description="\n".join(HOSTILE))
        module = loaded(source)
        assert module["FEATURES"] == HOSTILE
        assert "\n".join(HOSTILE[:2]) in module["__doc__"]
        rows = np.arange(2.0 * len(HOSTILE)).reshape(2, -1)
        assert np.array_equal(module["predict"](rows), rows.sum(axis=1))
        imported = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import)]
        assert [name.name for node in imported for name in node.names] == ["numpy"]


def test_what_predict_takes() -> None:
    module = loaded(numpy_source(parse("a + 2*b", ["a", "b"]), ["a", "b"]))
    frame = pd.DataFrame({"b": [1.0, 2.0], "c": [0.0, 0.0], "a": [10.0, 20.0]})
    assert module["predict"](frame).tolist() == [12.0, 24.0]
    assert module["predict"]([[1, 2], [3, 4]]).tolist() == [5.0, 11.0]
    assert module["predict"](np.zeros((0, 2))).shape == (0,)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        module["predict"]([1, 2, 3])
    constant = loaded(numpy_source(parse("2*3 + log(-1)"), ["a"]))["predict"]([[1.0], [2.0]])
    assert constant.shape == (2,)
    assert np.isnan(constant).all()


def test_the_source_runs_alone(tmp_path: Any) -> None:
    file = tmp_path / "equation.py"
    file.write_text(numpy_source(parse("erf(x0)*x1**3/7.25"), ["a", "b"]))
    code = "import equation, sys; print(repr(float(equation.predict([[0.3, 2.0]])[0])), len(equation.FEATURES))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    value, columns = ended.stdout.split()
    assert float(value) == pytest.approx(float(parse("erf(x0)*x1**3/7.25")(np.array([[0.3, 2.0]]))[0]), rel=1e-15)
    assert columns == "2"


def test_a_missing_name_is_refused() -> None:
    with pytest.raises(ValueError, match="uses variable 1"):
        numpy_source(parse("x1"), ["a"])
